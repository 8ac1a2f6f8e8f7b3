//! The settings of an optimiser.

use fer_nn::engine::Rule;
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::{Generation, Result};

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
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch's: ε is added to the root of the
    /// corrected mean.
    AdamW,
    /// Gradient descent with [momentum](OptimizerConfig::momentum), as PyTorch's.
    Sgd,
}

/// The settings of an [`Optimizer`](crate::Optimizer).
///
/// ```
/// use fer_train::{Algorithm, OptimizerConfig};
///
/// let sgd = OptimizerConfig {
///     algorithm: Algorithm::Sgd,
///     learning_rate: 0.05,
///     nesterov: true,
///     weight_decay: 5e-4,
///     ..Default::default()
/// };
/// assert_eq!(sgd.momentum, 0.9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Adam (default), Nadam, AdamW or SGD.
    pub algorithm: Algorithm,
    /// The learning rate that the [schedule](crate::ScheduleConfig) is multiplied by, over 0. Default 0.001.
    pub learning_rate: f64,
    /// The decay of the gradient's moving mean, in 0..1. Default 0.9. Not for SGD.
    pub beta_1: f64,
    /// The decay of the squared gradient's moving mean, in 0..1. Default 0.999. Not for SGD.
    pub beta_2: f64,
    /// What is added to the denominator, over 0. Default 1e-7, as in Keras (PyTorch: 1e-8). Not for SGD.
    pub epsilon: f64,
    /// The part of the last update's direction that stays in the next, in 0..1: `m = momentum·m + g`. Default 0.9. For SGD
    /// alone.
    pub momentum: f64,
    /// Whether SGD steps along `g + momentum·m` instead of `m`. Default false. It needs a momentum.
    pub nesterov: bool,
    /// How much of each weight is added to its gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether `learning rate·weight_decay` of each weight is subtracted from it instead of going through its gradient.
    /// Default false; AdamW always does.
    pub decoupled: bool,
    /// Whether weight decay is for all variables. Default false: for those of two and more dimensions alone, not for biases
    /// and norms.
    pub decay_all: bool,
    /// All gradients are multiplied by `clip_norm/(norm + 1e-6)` where their common norm is over it, as by PyTorch's
    /// `clip_grad_norm_`, before weight decay. Over 0; default none.
    pub clip_norm: Option<f64>,
    /// Whose Nadam: its momentum decays with 0.96^(0.004·t) (Keras 2, default) or 0.96^t (Keras 3). Adam is
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
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decoupled: false,
            decay_all: false,
            clip_norm: None,
            generation: Generation::Keras2,
        }
    }
}

impl OptimizerConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let rate = self.learning_rate;
        require(positive(rate), "optimizer.learning_rate", rate, "a finite number over 0")?;
        let parts = [
            ("optimizer.beta_1", self.beta_1),
            ("optimizer.beta_2", self.beta_2),
            ("optimizer.momentum", self.momentum),
        ];
        for (field, part) in parts {
            require((0.0..1.0).contains(&part), field, part, "at least 0 and under 1")?;
        }
        require(positive(self.epsilon), "optimizer.epsilon", self.epsilon, "a finite number over 0")?;
        let nesterov = self.nesterov && self.algorithm == Algorithm::Sgd;
        require(!nesterov || self.momentum > 0.0, "optimizer.nesterov", true, "false without momentum")?;
        let decay = self.weight_decay;
        let allowed = decay >= 0.0 && decay.is_finite();
        require(allowed, "optimizer.weight_decay", decay, "a finite number, at least 0")?;
        let clip = self.clip_norm;
        require(
            clip.is_none_or(positive),
            "optimizer.clip_norm",
            clip.unwrap_or(0.0),
            "a finite number over 0",
        )
    }

    /// Which of the engines' two rules it is.
    pub(crate) fn rule(&self) -> Rule {
        match self.algorithm {
            Algorithm::Adam | Algorithm::Nadam | Algorithm::AdamW => Rule::Adaptive,
            Algorithm::Sgd => Rule::Momentum,
        }
    }
}
