//! The factors of each step: every algorithm is one of two updates with other numbers in it.
//!
//! ```text
//! adaptive   m += (g − m)·(1 − β₁)      v += (g² − v)·(1 − β₂)      w −= (a·m + b·g) / (√(c·v) + ε)
//! Adam       a = lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ)         b = 0                          c = 1
//! AdamW      a = lr/(1 − β₁ᵗ)                    b = 0                          c = 1/(1 − β₂ᵗ)
//! Nadam      a = lr·u₍ₜ₊₁₎/(1 − Pₜ·u₍ₜ₊₁₎)       b = lr·(1 − uₜ)/(1 − Pₜ)       c = 1/(1 − β₂ᵗ)
//!
//! momentum   m = μ·m + g                w −= a·m + b·g
//! SGD        a = lr                              b = 0
//! Nesterov   a = lr·μ                            b = lr
//! ```
//! with t from 1, uₜ = β₁·(1 − ½·0.96^(k·t)), k = 0.004 in Keras 2 and 1 in Keras 3, Pₜ = ∏uᵢ.

use fer_nn::engine::Update;
use serde::{Deserialize, Serialize};

use super::config::{Algorithm, OptimizerConfig};
use crate::Generation;

/// What an optimiser remembers that is the same for all variables.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scalars {
    pub steps: u64,
    /// Nadam's P.
    pub momentum_product: f64,
    /// Before the schedule.
    pub learning_rate: f32,
    /// The learning rate of the last step, that is, after the schedule.
    pub rate: f32,
}

impl Scalars {
    pub fn new(config: &OptimizerConfig) -> Self {
        let learning_rate = config.learning_rate as f32;
        Self { steps: 0, momentum_product: 1.0, learning_rate, rate: learning_rate }
    }

    /// Counts a step, in which the learning rate is multiplied by `factor`, and gives its numbers.
    pub fn advance(&mut self, config: &OptimizerConfig, factor: f64) -> Update {
        self.steps += 1;
        let OptimizerConfig { beta_1, beta_2, momentum, weight_decay, .. } = *config;
        let t = self.steps as f64;
        let rate = f64::from(self.learning_rate) * factor;
        self.rate = rate as f32;
        let (of_mean, of_gradient, of_square) = match config.algorithm {
            Algorithm::Adam => (rate * ((1.0 - beta_2.powf(t)).sqrt() / (1.0 - beta_1.powf(t))), 0.0, 1.0),
            Algorithm::AdamW => (rate / (1.0 - beta_1.powf(t)), 0.0, 1.0 / (1.0 - beta_2.powf(t))),
            Algorithm::Nadam => {
                let decay = match config.generation {
                    Generation::Keras2 => 0.004,
                    Generation::Keras3 => 1.0,
                };
                let momentum = |t: f64| beta_1 * (1.0 - 0.5 * 0.96_f64.powf(decay * t));
                let (now, next) = (momentum(t), momentum(t + 1.0));
                self.momentum_product *= now;
                let product = self.momentum_product;
                (
                    rate * next / (1.0 - product * next),
                    rate * (1.0 - now) / (1.0 - product),
                    1.0 / (1.0 - beta_2.powf(t)),
                )
            }
            Algorithm::Sgd if config.nesterov => (rate * momentum, rate, 0.0),
            Algorithm::Sgd => (rate, 0.0, 0.0),
        };
        let (decay, shrink) = match config.decoupled || config.algorithm == Algorithm::AdamW {
            true => (0.0, rate * weight_decay),
            false => (weight_decay, 0.0),
        };
        Update {
            new_in_mean: (1.0 - beta_1) as f32,
            new_in_square: (1.0 - beta_2) as f32,
            of_mean: of_mean as f32,
            of_gradient: of_gradient as f32,
            of_square: of_square as f32,
            epsilon: config.epsilon as f32,
            momentum: momentum as f32,
            decay: decay as f32,
            shrink: shrink as f32,
            clip: config.clip_norm.unwrap_or(0.0) as f32,
            new_in_average: 0.0,
        }
    }
}
