//! The settings of a training. Every default is the notebook's.

use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::{OptimizerConfig, Result, ScheduleConfig};

/// The settings of a [`Trainer`](crate::Trainer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The number of epochs to train for, unless a callback stops earlier. Default 100.
    pub epochs: u32,
    /// The seed of what is random in the network's training pass, given to it in
    /// [`Mode::Train`](fer_nn::Mode::Train). Default 42.
    pub seed: u64,
    /// How the weights are updated.
    pub optimizer: OptimizerConfig,
    /// What the learning rate is multiplied by, step by step. Default: 1.
    pub schedule: ScheduleConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// A moving average of the weights, which is then what is validated and kept. Default none.
    pub average: Option<AverageConfig>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 100,
            seed: 42,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            loss: LossConfig::default(),
            average: None,
        }
    }
}

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for the first setting that is not allowed.
    pub fn validate(&self) -> Result<()> {
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.loss.validate()?;
        self.average.map_or(Ok(()), |average| average.validate())
    }
}

/// The moving average of all variables, moving statistics included: after step t, from 0, it is
/// `average += (w − average)·(1 − d)` with `d = min(decay, (1 + t)/(10 + t))`, and it begins as a copy of the initial
/// weights.
///
/// It is what is validated, what callbacks see in [`Control::weights`](crate::Control::weights) at the end of an epoch, and
/// what the variables hold when the training ends; the training itself goes on with the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AverageConfig {
    /// The part of the old average that stays in a step, once the training is long; at least 0 and under 1. Default 0.999.
    pub decay: f64,
}

impl Default for AverageConfig {
    fn default() -> Self {
        Self { decay: 0.999 }
    }
}

impl AverageConfig {
    fn validate(&self) -> Result<()> {
        require((0.0..1.0).contains(&self.decay), "average.decay", self.decay, "at least 0 and under 1")
    }

    /// The part of step `step`, from 0, that is new in the average.
    pub(crate) fn new_part(&self, step: u64) -> f64 {
        let t = step as f64;
        1.0 - self.decay.min((1.0 + t) / (10.0 + t))
    }
}

/// The settings of the [`cross_entropy`](crate::cross_entropy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// The part s of the target that is spread over all K classes: y·(1 − s) + s/K. In 0..1, default 0.
    pub label_smoothing: f64,
    /// A factor for the loss of each class' samples, one a class, none under 0; `None` (default) weighs all
    /// alike. A sample whose target is shared by classes has the mean of their factors, by its shares. As in Keras, the
    /// factors apply to the training loss only, and the sum is divided by the number of samples, not by the sum of their
    /// factors.
    pub class_weights: Option<Vec<f64>>,
    /// Makes it the focal loss (Lin et al. 2017): what each class adds is multiplied by (1 − p)^γ, where p is its
    /// probability. At least 0; `None` (default) is 0, the cross-entropy. Its α are the [class
    /// weights](Self::class_weights).
    pub focal_gamma: Option<f64>,
}

impl LossConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let smoothing = self.label_smoothing;
        require(
            (0.0..1.0).contains(&smoothing),
            "loss.label_smoothing",
            smoothing,
            "at least 0 and under 1",
        )?;
        for &weight in self.class_weights.iter().flatten() {
            let allowed = weight >= 0.0 && weight.is_finite();
            require(allowed, "loss.class_weights", weight, "finite numbers, none under 0")?;
        }
        for &gamma in self.focal_gamma.iter() {
            let allowed = gamma >= 0.0 && gamma.is_finite();
            require(allowed, "loss.focal_gamma", gamma, "a finite number, at least 0")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn a_setting_out_of_range_is_named_with_its_value_and_what_is_allowed() {
        let config = |optimizer| TrainConfig { optimizer, ..Default::default() };
        let text = |config: TrainConfig| config.validate().unwrap_err().to_string();
        let optimizer = OptimizerConfig { learning_rate: -1.0, ..Default::default() };
        assert_eq!(
            text(config(optimizer)),
            "optimizer.learning_rate is -1: it must be a finite number over 0"
        );
        let optimizer = OptimizerConfig { beta_2: 1.0, ..Default::default() };
        assert_eq!(text(config(optimizer)), "optimizer.beta_2 is 1: it must be at least 0 and under 1");
        let optimizer = OptimizerConfig { epsilon: f64::NAN, ..Default::default() };
        assert!(config(optimizer).validate().is_err());
        let loss = LossConfig { class_weights: Some(vec![1.0, -0.5]), ..Default::default() };
        assert!(text(TrainConfig { loss, ..Default::default() }).starts_with("loss.class_weights is -0.5"));
        let average = Some(AverageConfig { decay: 1.0 });
        let text = text(TrainConfig { average, ..Default::default() });
        assert_eq!(text, "average.decay is 1: it must be at least 0 and under 1");
        assert!(TrainConfig { epochs: 0, ..Default::default() }.validate().is_err());
        assert!(TrainConfig::default().validate().is_ok());
    }

    #[test]
    fn a_configuration_names_only_what_it_changes() {
        let config: TrainConfig =
            serde_json::from_str(r#"{"epochs": 3, "optimizer": {"algorithm": "nadam"}}"#).unwrap();
        assert_eq!(config.optimizer.algorithm, Algorithm::Nadam);
        assert_eq!((config.epochs, config.optimizer.learning_rate, config.seed), (3, 1e-3, 42));
        assert!(serde_json::from_str::<TrainConfig>(r#"{"epoch": 3}"#).is_err());
    }
}
