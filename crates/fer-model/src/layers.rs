//! The layers of a network as a table: names, shapes and parameters, as Keras' `summary()` prints them.

use std::fmt::Write;

use fer_nn::Graph;
use fer_nn::plan::Op;

use crate::{Input, Result};

/// One row of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// The layer's name, which its tensors begin with.
    pub name: String,
    /// What it is, by Keras' class name.
    pub class: &'static str,
    /// The output for one image: `(height, width, channels)` or `(units)`, as Keras shows it.
    pub output: Vec<usize>,
    /// The layer's tensors: their names within the layer and their shapes.
    pub tensors: Vec<(&'static str, Vec<usize>)>,
}

impl LayerInfo {
    /// The number of values in the layer's tensors.
    pub fn parameters(&self) -> Parameters {
        let mut count = Parameters::default();
        for (name, shape) in &self.tensors {
            let values = shape.iter().product::<usize>();
            match *name {
                "running_mean" | "running_var" => count.fixed += values,
                _ => count.trainable += values,
            }
        }
        count
    }
}

/// A number of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Those that the optimiser changes.
    pub trainable: usize,
    /// The moving statistics.
    pub fixed: usize,
}

impl Parameters {
    /// All of them.
    pub fn total(self) -> usize {
        self.trainable + self.fixed
    }
}

/// The class of Keras that does what a layer does.
fn class(op: &Op) -> &'static str {
    match op {
        Op::Conv2d(_) => "Conv2D",
        Op::ConvTranspose2d(_) => "Conv2DTranspose",
        Op::Dense(_) => "Dense",
        Op::BatchNorm(_) => "BatchNormalization",
        Op::Activation(_) => "Activation",
        Op::PRelu(_) => "PReLU",
        Op::MaxPool2d(_) => "MaxPooling2D",
        Op::MeanPool2d(_) => "AveragePooling2D",
        Op::GlobalMean => "GlobalAveragePooling2D",
        Op::Dropout(_) => "Dropout",
        Op::Flatten => "Flatten",
        Op::Upsample(_) => "UpSampling2D",
        Op::Sum => "Add",
        _ => "Layer",
    }
}

/// The layers of a network for images of this size.
pub(crate) fn table(net: &Graph, input: Input) -> Result<Vec<LayerInfo>> {
    let layers = net.layers(&[1, input.channels, input.height, input.width])?;
    let row = |layer: fer_nn::plan::LayerInfo| LayerInfo {
        class: class(&layer.op),
        output: match layer.output[1..] {
            [channels, height, width] => vec![height, width, channels],
            _ => layer.output[1..].to_vec(),
        },
        tensors: layer.variables.iter().map(|v| (v.name, v.tensor.dims().to_vec())).collect(),
        name: layer.name,
    };
    Ok(layers.into_iter().map(row).collect())
}

/// Every tensor: its full name and its shape.
pub(crate) fn tensors(layers: &[LayerInfo]) -> Vec<(String, Vec<usize>)> {
    let of = |layer: &LayerInfo| {
        let full = |(tensor, shape): &(&str, Vec<usize>)| (format!("{}.{tensor}", layer.name), shape.clone());
        layer.tensors.iter().map(full).collect::<Vec<_>>()
    };
    layers.iter().flat_map(of).collect()
}

/// The parameters of all layers.
pub(crate) fn parameters(layers: &[LayerInfo]) -> Parameters {
    layers.iter().map(LayerInfo::parameters).fold(Parameters::default(), |sum, layer| Parameters {
        trainable: sum.trainable + layer.trainable,
        fixed: sum.fixed + layer.fixed,
    })
}

/// The table that Keras' `model.summary()` prints.
pub(crate) fn summary(title: &str, layers: &[LayerInfo]) -> String {
    let (rule, double) = ("_".repeat(65), "=".repeat(65));
    let mut text = format!("Model: \"{title}\"\n{rule}\n");
    let mut row = |layer: &str, output: &str, count: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", format!("{layer:<29}{output:<26}{count}").trim_end());
    };
    row("Layer (type)", "Output Shape", "Param #");
    row(&double, "", "");
    for (i, layer) in layers.iter().enumerate() {
        let output = layer.output.iter().fold(String::from("(None"), |s, n| s + ", " + &n.to_string());
        let title = format!("{} ({})", layer.name, layer.class);
        // Like Keras, a name that is too long for its column is cut.
        let title: String = title.chars().take(28).collect();
        row(&title, &(output + ")"), &layer.parameters().total().to_string());
        row(if i + 1 < layers.len() { &rule } else { &double }, "", "");
    }
    let Parameters { trainable, fixed } = parameters(layers);
    row(&format!("Total params: {}", thousands(trainable + fixed)), "", "");
    row(&format!("Trainable params: {}", thousands(trainable)), "", "");
    row(&format!("Non-trainable params: {}", thousands(fixed)), "", "");
    row(&rule, "", "");
    text
}

/// 2395075 as `2,395,075`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, DcnnConfig};

    fn layers(config: &DcnnConfig) -> Vec<LayerInfo> {
        config.layers().unwrap()
    }

    #[test]
    fn the_summary_is_the_notebooks() {
        let layers = layers(&DcnnConfig::default());
        let rows: Vec<(&str, &[usize], usize)> =
            layers.iter().map(|l| (l.name.as_str(), &l.output[..], l.parameters().total())).collect();
        assert_eq!(
            rows,
            [
                ("conv2d_1", &[48, 48, 64][..], 1664),
                ("batchnorm_1", &[48, 48, 64], 256),
                ("conv2d_2", &[48, 48, 64], 102464),
                ("batchnorm_2", &[48, 48, 64], 256),
                ("maxpool2d_1", &[24, 24, 64], 0),
                ("dropout_1", &[24, 24, 64], 0),
                ("conv2d_3", &[24, 24, 128], 73856),
                ("batchnorm_3", &[24, 24, 128], 512),
                ("conv2d_4", &[24, 24, 128], 147584),
                ("batchnorm_4", &[24, 24, 128], 512),
                ("maxpool2d_2", &[12, 12, 128], 0),
                ("dropout_2", &[12, 12, 128], 0),
                ("conv2d_5", &[12, 12, 256], 295168),
                ("batchnorm_5", &[12, 12, 256], 1024),
                ("conv2d_6", &[12, 12, 256], 590080),
                ("batchnorm_6", &[12, 12, 256], 1024),
                ("maxpool2d_3", &[6, 6, 256], 0),
                ("dropout_3", &[6, 6, 256], 0),
                ("flatten", &[9216], 0),
                ("dense_1", &[128], 1179776),
                ("batchnorm_7", &[128], 512),
                ("dropout_4", &[128], 0),
                ("out_layer", &[3], 387),
            ]
        );
        let dcnn = DcnnConfig::default();
        let text = Architecture::from(dcnn).summary(Input::grey(48), 3).unwrap();
        assert!(text.starts_with("Model: \"DCNN\"\n"));
        assert!(text.contains("conv2d_1 (Conv2D)            (None, 48, 48, 64)        1664\n"), "{text}");
        assert!(text.contains("Total params: 2,395,075\nTrainable params: 2,393,027\n"));
        assert!(text.contains("Non-trainable params: 2,048\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 65));
    }

    #[test]
    fn odd_sizes_lose_their_last_row_as_pooling_does() {
        let config = DcnnConfig { height: 50, width: 27, ..Default::default() };
        let flatten = layers(&config).into_iter().find(|layer| layer.name == "flatten");
        assert_eq!(flatten.map(|layer| layer.output), Some(vec![256 * 6 * 3]));
        assert_eq!(config.features(), (256, 6, 3));
    }
}
