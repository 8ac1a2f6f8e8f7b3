//! A learning rate that rises from batch to batch, to see which ones a network learns by.

use serde::{Deserialize, Serialize};

use crate::callback::{BatchLog, BatchStart, Callback, Control};
use crate::{BoxError, Result, error::require};

/// How [`LearningRateFinder`] goes; `Default` is fastai's `lr_find`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRateFinderConfig {
    /// The rate of the first batch, over 0. 1e-7.
    pub from: f32,
    /// The rate of the last batch, over `from`. 10.
    pub to: f32,
    /// Batches from the one to the other, at least 2. 100.
    pub steps: u32,
    /// Of each loss's mean with those before it, the part that is of those before: 0 to 1, without 1. 0.98.
    pub smoothing: f64,
    /// Stops when the smoothed loss is so many times the least one, over 1. 4.
    pub diverged: f64,
}

impl Default for LearningRateFinderConfig {
    fn default() -> Self {
        Self { from: 1e-7, to: 10.0, steps: 100, smoothing: 0.98, diverged: 4.0 }
    }
}

/// Raises the learning rate by the same factor from batch to batch and remembers the loss of each (Smith 2017), then stops
/// the training.
///
/// It is for a network of its own: what it was trained to is of no use. The training needs as many epochs as give
/// [`steps`](LearningRateFinderConfig::steps) batches, and neither a schedule nor other callbacks that change the rate.
/// `fer_plot::learning_rates` draws the curve.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{Flatten, Sequential, dense, var_builder};
/// use fer_train::{LearningRateFinder, LearningRateFinderConfig, TensorBatches, TrainConfig, Trainer};
///
/// // Sixty-four "images" of one pixel: the class is whether it is light.
/// let pixels: Vec<f32> = (0..64).map(|i| (i * 7 % 64) as f32 / 32.0 - 1.0).collect();
/// let classes: Vec<u32> = pixels.iter().map(|pixel| u32::from(*pixel > 0.0)).collect();
/// let images = Tensor::from_vec(pixels, (64, 1, 1, 1), &Device::Cpu)?;
/// let train = TensorBatches::new(images, Tensor::new(classes, &Device::Cpu)?, 8)?.shuffled(1);
///
/// let weights = candle_nn::VarMap::new();
/// let network = Sequential::new()
///     .add(Flatten)
///     .add(dense(1, 2, Default::default(), var_builder(&weights, 1, &Device::Cpu))?);
/// let config = LearningRateFinderConfig { steps: 50, smoothing: 0.9, ..Default::default() };
/// let mut finder = LearningRateFinder::new(config)?;
/// let trainer = Trainer::new(TrainConfig { epochs: 7, ..Default::default() })?;
/// trainer.fit(&network, &weights, &train, None, &mut [&mut finder])?;
/// assert!(finder.curve().len() <= 50);
/// assert!(finder.steepest().is_some_and(|rate| (1e-4..10.0).contains(&rate)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LearningRateFinder {
    config: LearningRateFinderConfig,
    curve: Vec<(f32, f64)>,
    mean: f64,
    least: f64,
    /// Samples and the sum of their losses before the present batch of the epoch.
    before: (u64, f64),
    is_over: bool,
}

impl LearningRateFinder {
    /// A finder that has seen nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a setting that is not allowed.
    pub fn new(config: LearningRateFinderConfig) -> Result<Self> {
        let LearningRateFinderConfig { from, to, steps, smoothing, diverged } = config;
        require(from > 0.0 && from.is_finite(), "from", from, "a finite number over 0")?;
        require(to > from && to.is_finite(), "to", to, "a finite number over `from`")?;
        require(steps >= 2, "steps", steps, "at least 2")?;
        require((0.0..1.0).contains(&smoothing), "smoothing", smoothing, "0 to 1, without 1")?;
        require(diverged > 1.0, "diverged", diverged, "over 1")?;
        let curve = Vec::new();
        Ok(Self { config, curve, mean: 0.0, least: f64::INFINITY, before: (0, 0.0), is_over: false })
    }

    /// The learning rates so far and the smoothed loss at each, in their order.
    pub fn curve(&self) -> &[(f32, f64)] {
        &self.curve
    }

    /// The rate at which the loss falls fastest by the rate's logarithm, before it is least; a good rate to train with lies
    /// there. `None` when it never falls.
    pub fn steepest(&self) -> Option<f32> {
        let least = (0..self.curve.len()).min_by(|&a, &b| self.curve[a].1.total_cmp(&self.curve[b].1))?;
        // The rates are a geometric series: the differences of the losses are slopes.
        let falls = self.curve[..=least].windows(2).map(|pair| (pair[1].1 - pair[0].1, pair[1].0));
        falls.filter(|(slope, _)| *slope < 0.0).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rate)| rate)
    }

    fn rate(&self) -> f32 {
        let LearningRateFinderConfig { from, to, steps, .. } = self.config;
        let part = self.curve.len() as f64 / f64::from(steps - 1);
        (f64::from(from) * (f64::from(to) / f64::from(from)).powf(part)) as f32
    }
}

impl Callback for LearningRateFinder {
    fn name(&self) -> &str {
        "LearningRateFinder"
    }

    fn every_batch(&self) -> bool {
        true
    }

    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        *self = Self::new(self.config)?;
        Ok(())
    }

    fn on_batch_begin(&mut self, control: &mut Control, batch: &BatchStart) -> Result<(), BoxError> {
        if batch.step == 1 {
            self.before = (0, 0.0);
        }
        control.learning_rate = self.rate();
        control.stop |= self.is_over;
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &BatchLog) {
        if self.is_over {
            return;
        }
        let sum = batch.loss * batch.samples as f64;
        let loss = (sum - self.before.1) / (batch.samples - self.before.0) as f64;
        self.before = (batch.samples, sum);
        let LearningRateFinderConfig { smoothing, diverged, steps, .. } = self.config;
        self.mean = smoothing * self.mean + (1.0 - smoothing) * loss;
        // Without the zero that the mean began with, as Adam's moments.
        let smoothed = self.mean / (1.0 - smoothing.powi(self.curve.len() as i32 + 1));
        self.curve.push((batch.learning_rate, smoothed));
        self.least = self.least.min(smoothed);
        self.is_over = self.curve.len() >= steps as usize || smoothed > diverged * self.least;
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        control.stop |= self.is_over;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_nn::VarMap;
    use fer_metrics::History;

    use super::*;

    /// Ten batches an epoch, whose loss depends on their rate alone; gives the epochs that it took.
    fn find(finder: &mut LearningRateFinder, loss_at: impl Fn(f32) -> f64) -> u32 {
        let (history, weights) = (History::default(), VarMap::new());
        let mut control = Control::new(&history, &weights, 99, 0.5);
        finder.on_train_begin(&mut control).unwrap();
        for epoch in 1.. {
            let mut sum = 0.0;
            for step in 1..=10 {
                finder.on_batch_begin(&mut control, &BatchStart { epoch, step, steps: 10 }).unwrap();
                if control.stop {
                    break;
                }
                sum += loss_at(control.learning_rate);
                finder.on_batch_end(&BatchLog {
                    epoch,
                    epochs: 99,
                    step,
                    steps: 10,
                    samples: u64::from(step),
                    loss: sum / f64::from(step),
                    accuracy: 0.0,
                    learning_rate: control.learning_rate,
                    seconds: 0.0,
                });
            }
            finder.on_epoch_end(&mut control).unwrap();
            if control.stop {
                return epoch;
            }
        }
        unreachable!()
    }

    #[test]
    fn rates_are_a_geometric_series_whose_losses_are_seen_one_by_one() {
        let config =
            LearningRateFinderConfig { from: 1e-4, to: 1e2, steps: 25, smoothing: 0.0, ..Default::default() };
        let mut finder = LearningRateFinder::new(config).unwrap();
        // Flat, then down to 1e-1, then up, but never to four times the least.
        let loss = |rate: f32| 2.0 - (f64::from(rate).log10() + 3.0).clamp(0.0, 2.0) / 2.0;
        assert_eq!(find(&mut finder, loss), 3);
        assert_eq!(finder.curve().len(), 25);
        for (i, &(rate, found)) in finder.curve().iter().enumerate() {
            let expected = 10_f64.powf(-4.0 + i as f64 / 4.0);
            assert!((f64::from(rate) / expected - 1.0).abs() < 1e-6 && (found - loss(rate)).abs() < 1e-9);
        }
        assert!(finder.steepest().is_some_and(|rate| (1e-3..=0.1).contains(&rate)));
    }

    #[test]
    fn it_stops_where_the_loss_diverges_and_where_it_never_falls_no_rate_is_found() {
        let mut finder =
            LearningRateFinder::new(LearningRateFinderConfig { smoothing: 0.5, ..Default::default() })
                .unwrap();
        find(&mut finder, |rate| if rate < 1e-2 { 1.0 } else { 100.0 * f64::from(rate) });
        let (last, loss) = *finder.curve().last().unwrap();
        assert!(loss > 4.0 && (1e-2..1.0).contains(&last), "{loss} at {last}");
        assert_eq!(finder.steepest(), None);
        for wrong in [
            LearningRateFinderConfig { from: 0.0, ..Default::default() },
            LearningRateFinderConfig { to: 1e-8, ..Default::default() },
            LearningRateFinderConfig { steps: 1, ..Default::default() },
            LearningRateFinderConfig { smoothing: 1.0, ..Default::default() },
            LearningRateFinderConfig { diverged: f64::NAN, ..Default::default() },
        ] {
            assert!(LearningRateFinder::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
