//! The settings of a training. Every default is the notebook's.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Which Keras to follow where its generations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// `tf.keras` of TensorFlow 2.1 and 2.2, which the notebook ran on.
    #[default]
    Notebook,
    /// Keras 3.
    Keras3,
}

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
    /// What is minimised.
    pub loss: LossConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { epochs: 100, seed: 42, optimizer: OptimizerConfig::default(), loss: LossConfig::default() }
    }
}

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] for the first setting that is not allowed.
    pub fn validate(&self) -> Result<(), Error> {
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        self.optimizer.validate()?;
        self.loss.validate()
    }
}

/// How an [`Optimizer`](crate::Optimizer) turns gradients into updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Adam (Kingma and Ba 2015) with Keras' ε, which stands outside the bias correction.
    #[default]
    Adam,
    /// Adam with Nesterov momentum (Dozat 2016), with the momentum decay of
    /// [`OptimizerConfig::generation`].
    Nadam,
}

/// The settings of an [`Optimizer`](crate::Optimizer).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Adam (default) or Nadam.
    pub algorithm: Algorithm,
    /// The learning rate at the beginning, over 0. Default 0.001.
    pub learning_rate: f64,
    /// The decay of the gradient's moving mean, in 0..1. Default 0.9.
    pub beta_1: f64,
    /// The decay of the squared gradient's moving mean, in 0..1. Default 0.999.
    pub beta_2: f64,
    /// What is added to the denominator, over 0. Default 1e-7.
    pub epsilon: f64,
    /// Whose Nadam: its momentum decays with 0.96^(0.004·t) (notebook, default) or 0.96^t (Keras 3). Adam is
    /// the same in both.
    pub generation: Generation,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Adam,
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            generation: Generation::Notebook,
        }
    }
}

impl OptimizerConfig {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let rate = self.learning_rate;
        require(positive(rate), "optimizer.learning_rate", rate, "a finite number over 0")?;
        for (field, beta) in [("optimizer.beta_1", self.beta_1), ("optimizer.beta_2", self.beta_2)] {
            require((0.0..1.0).contains(&beta), field, beta, "at least 0 and under 1")?;
        }
        require(positive(self.epsilon), "optimizer.epsilon", self.epsilon, "a finite number over 0")
    }
}

/// The settings of the [`cross_entropy`](crate::cross_entropy).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// The part s of the target that is spread over all K classes: y·(1 − s) + s/K. In 0..1, default 0.
    pub label_smoothing: f64,
    /// A factor for the loss of each class' samples, one a class, none under 0; `None` (default) weighs all
    /// alike. As in Keras, the factors apply to the training loss only, and the sum is divided by the number
    /// of samples, not by the sum of their factors.
    pub class_weights: Option<Vec<f64>>,
}

impl LossConfig {
    pub(crate) fn validate(&self) -> Result<(), Error> {
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
        Ok(())
    }
}

/// [`Error::Config`] unless the value is `allowed`.
pub(crate) fn require(
    allowed: bool,
    field: &'static str,
    value: impl ToString,
    what: impl ToString,
) -> Result<(), Error> {
    if allowed {
        return Ok(());
    }
    Err(Error::Config { field, value: value.to_string(), allowed: what.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
