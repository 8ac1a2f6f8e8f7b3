//! Which parts of an image speak for a label.

use candle_core::{D, Device, Tensor};
use fer_nn::Probe;
use image::DynamicImage;

use crate::{Classifier, Error, HeatMap, Prediction, Result};

/// Where an image speaks for a label: Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
/// Gradient-based Localization", ICCV 2017).
///
/// It shows what this network has looked at, not why a person would say so.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What the network says of the image, looking at it once.
    pub prediction: Prediction,
    /// The label that is explained.
    pub label: String,
    /// How much each place speaks for the label, 0 to 1: the layer's values weighted by their mean gradients, where they sum
    /// to more than 0, divided by [`strength`](Self::strength). The layer's size stands for the whole image.
    pub map: HeatMap,
    /// The largest value before the division; 0 where no place speaks for the label.
    pub strength: f32,
}

/// Explains what a [`Classifier`] says, by one layer of its network.
#[derive(Clone, Debug)]
pub struct Explainer<'a> {
    classifier: &'a Classifier,
    probe: Probe,
}

impl Classifier {
    /// Where an image speaks for one of the [`labels`](Self::labels), by the last convolution. Who explains many images makes
    /// an [`explainer`](Self::explainer) for them.
    ///
    /// # Errors
    /// As [`explainer`](Self::explainer) and [`Explainer::explain`].
    pub fn explain(&self, image: &DynamicImage, label: &str) -> Result<Explanation> {
        self.explainer(None)?.explain(image, label)
    }

    /// What explains by the layer of this name, or by the last convolution. The names are those of
    /// [`Architecture::layers`](crate::Architecture::layers). A late layer tells what matters, an early one where exactly.
    ///
    /// # Errors
    /// When there is no such layer, and for a network of one's own, whose layers are not known.
    pub fn explainer(&self, layer: Option<&str>) -> Result<Explainer<'_>> {
        let Some(graph) = self.graph() else {
            return Err(Error::config("explain", "a network of one's own", "an architecture of this crate"));
        };
        let Some(layer) = layer.or_else(|| graph.last_convolution()) else {
            return Err(Error::config("layer", "no convolution", "the name of a layer"));
        };
        Ok(Explainer { classifier: self, probe: graph.probe(layer)? })
    }

    /// How much of a label's probability is lost when a square of an image is covered, in network pixels: a check of
    /// [`explain`](Self::explain) that needs no gradient (Zeiler and Fergus 2014). The squares of `size` pixels, in the
    /// image's mean grey or colour, stand around the middles of cells of `step` pixels; each cell has a value, negative where
    /// the label gains.
    ///
    /// # Errors
    /// For an unknown label, a size or step of 0, and as [`predict`](Self::predict).
    pub fn occlusion(&self, image: &DynamicImage, label: &str, size: usize, step: usize) -> Result<HeatMap> {
        let class = self.class(label)?;
        if size == 0 || step == 0 {
            return Err(Error::config("size and step", format!("{size} and {step}"), "at least 1 each"));
        }
        let (input, whole) = (self.input(), self.pixels(image)?);
        let (columns, rows) = (input.width.div_ceil(step), input.height.div_ceil(step));
        let plane = input.height * input.width;
        let means: Vec<u8> = whole
            .chunks_exact(plane)
            .map(|channel| (channel.iter().map(|&value| u64::from(value)).sum::<u64>() / plane as u64) as u8)
            .collect();
        let within = |cell: usize, length: usize| {
            let middle = (cell * step).saturating_add(step / 2).min(length - 1);
            middle.saturating_sub(size / 2)..middle.saturating_add(size.div_ceil(2)).min(length)
        };
        let before = self.predict_pixels(&whole)?[0][class];
        let mut values = Vec::with_capacity(rows * columns);
        // A row of cells at a time bounds the memory.
        for row in 0..rows {
            let mut covered = whole.repeat(columns);
            for (column, image) in covered.chunks_exact_mut(whole.len()).enumerate() {
                for (channel, mean) in image.chunks_exact_mut(plane).zip(&means) {
                    for y in within(row, input.height) {
                        channel[y * input.width..][within(column, input.width)].fill(*mean);
                    }
                }
            }
            values.extend(self.predict_pixels(&covered)?.iter().map(|of_covered| before - of_covered[class]));
        }
        Ok(HeatMap { width: columns, height: rows, values })
    }

    fn class(&self, label: &str) -> Result<usize> {
        let found = self.labels().iter().position(|known| known == label);
        found.ok_or_else(|| Error::config("label", label, self.labels().join(", ")))
    }
}

impl Explainer<'_> {
    /// Where an image speaks for one of the classifier's labels.
    ///
    /// # Errors
    /// For an unknown label, a layer whose values have no places, and as [`Classifier::predict`].
    pub fn explain(&self, image: &DynamicImage, label: &str) -> Result<Explanation> {
        let classifier = self.classifier;
        let class = classifier.class(label)?;
        let images = classifier.tensor(&classifier.pixels(image)?)?;
        let seen = self.probe.look(&images, &mut |logits| logits.narrow(1, class, 1)?.sum_all())?;
        let [_, channels, height, width] = seen.values.dims()[..] else {
            let found = format!("values of {:?}", &seen.values.dims()[1..]);
            return Err(Error::config("layer", found, "a layer of (channels, height, width)"));
        };
        let flat = |tensor: &Tensor| tensor.reshape((channels, height * width));
        let weights = flat(&seen.gradient)?.mean_keepdim(D::Minus1)?;
        let map = flat(&seen.values)?.broadcast_mul(&weights)?.sum(0)?.relu()?;
        let map: Vec<f32> = map.to_device(&Device::Cpu)?.to_vec1()?;
        let strength = map.iter().copied().fold(0.0, f32::max);
        let scale = if strength > 0.0 { strength.recip() } else { 0.0 };
        let probabilities = candle_nn::ops::softmax(&seen.output, 1)?.to_vec2::<f32>()?.swap_remove(0);
        if probabilities.iter().any(|p| !p.is_finite()) || !strength.is_finite() {
            return Err(Error::NoProbabilities { image: 0 });
        }
        Ok(Explanation {
            prediction: Prediction::of(classifier.labels(), probabilities),
            label: label.to_owned(),
            map: HeatMap { width, height, values: map.iter().map(|value| value * scale).collect() },
            strength,
        })
    }
}
