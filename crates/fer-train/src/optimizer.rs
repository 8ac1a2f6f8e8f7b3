//! Updates of a network's variables by their gradients.

mod config;
mod memory;
mod rule;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::VarMap;
use fer_nn::engine::{Rule, Slots, Update};
use serde::Deserialize;

pub use config::{Algorithm, OptimizerConfig};
pub(crate) use update::Blend;

use crate::{Error, Result, weights};
use memory::Memory;
use rule::Scalars;
use update::Step;

/// Updates the variables of a network by their gradients: see [`OptimizerConfig`].
///
/// ```
/// use candle_core::{DType, Device};
/// use fer_train::{Optimizer, OptimizerConfig};
///
/// let weights = candle_nn::VarMap::new();
/// let w = weights.get(3, "w", candle_nn::Init::Const(1.0), DType::F32, &Device::Cpu)?;
/// let mut optimizer = Optimizer::new(OptimizerConfig::default())?;
/// let loss = w.sqr()?.sum_all()?;
/// optimizer.step(&weights, &loss.backward()?)?;
/// assert!((w.to_vec1::<f32>()?[0] - 0.999).abs() < 1e-6);
/// # Ok::<(), fer_train::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    scalars: Scalars,
    memories: BTreeMap<String, Memory>,
}

/// All that an [`Optimizer`] remembers, to go on later exactly as it would have.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    pub(crate) scalars: serde_json::Value,
    /// `m/NAME` and, where there is one, `v/NAME` for each parameter.
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Optimizer {
    /// An optimiser at its first step.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is not allowed.
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, scalars: Scalars::new(&config), memories: BTreeMap::new() })
    }

    /// The learning rate, in `f32` as Keras keeps it. In a [`Trainer`](crate::Trainer) the schedule multiplies it.
    pub fn learning_rate(&self) -> f32 {
        self.scalars.learning_rate
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_learning_rate(&mut self, learning_rate: f32) {
        self.scalars.learning_rate = learning_rate;
    }

    /// The number of steps done.
    pub fn steps(&self) -> u64 {
        self.scalars.steps
    }

    /// The learning rate of the last step, after the schedule.
    pub(crate) fn rate(&self) -> f32 {
        self.scalars.rate
    }

    /// Updates every variable of `weights` that has a gradient and leaves the others as they are. Returns how
    /// many were updated.
    ///
    /// # Errors
    /// When a variable is neither `f32` nor `f64`, or its gradient is of another shape or type.
    pub fn step(&mut self, weights: &VarMap, gradients: &GradStore) -> Result<usize> {
        let update = self.next_update(1.0);
        self.apply(weights, gradients, &update)
    }

    /// Counts a step, in which the learning rate is multiplied by `factor`, and gives its numbers.
    pub(crate) fn next_update(&mut self, factor: f64) -> Update {
        self.scalars.advance(&self.config, factor)
    }

    /// Updates the variables that have a gradient by the numbers of a step. Returns how many those are.
    pub(crate) fn apply(
        &mut self,
        weights: &VarMap,
        gradients: &GradStore,
        update: &Update,
    ) -> Result<usize> {
        let vars = weights::sorted(weights);
        let trained: Vec<(String, Var, &Tensor)> = vars
            .into_iter()
            .filter_map(|(name, var)| gradients.get(&var).map(|gradient| (name, var, gradient)))
            .collect();
        let rule = self.config.rule();
        let scale = match f64::from(update.clip) {
            clip if clip > 0.0 => {
                let mut squares = 0.0;
                for (_, _, gradient) in &trained {
                    squares += update::sum_of_squares(gradient)?;
                }
                (clip / (squares.sqrt() + 1e-6)).min(1.0)
            }
            _ => 1.0,
        };
        for (name, var, gradient) in &trained {
            let decays = self.config.decay_all || var.rank() >= 2;
            let (decay, shrink) = if decays { (update.decay, update.shrink) } else { (0.0, 0.0) };
            let step = Step { rule, update: Update { decay, shrink, ..*update }, scale };
            if !self.memories.contains_key(name) {
                self.memories.insert(name.clone(), Memory::zeros(var, rule)?);
            }
            if let Some(memory) = self.memories.get_mut(name) {
                memory.step(var, gradient, &step)?;
            }
        }
        Ok(trained.len())
    }

    /// What is kept of the variables that have been updated, for a device that goes on with them.
    pub(crate) fn slots(&self, weights: &VarMap) -> Result<Vec<Slots>> {
        let mut all = Vec::new();
        for (name, var) in weights::sorted(weights) {
            if let Some(memory) = self.memories.get(&name) {
                let (m, v) = memory.tensors(&var)?;
                all.push(Slots { variable: var.id(), m: Some(m), v, average: None });
            }
        }
        Ok(all)
    }

    /// Takes over what a device that updated the variables kept.
    pub(crate) fn set_slots(&mut self, slots: &[Slots], weights: &VarMap) -> Result<()> {
        for (name, var) in weights::sorted(weights) {
            let of_var = slots.iter().find(|slots| slots.variable == var.id());
            if let Some(Slots { m: Some(m), v, .. }) = of_var {
                self.memories.insert(name, Memory::from_tensors(m, v.as_ref())?);
            }
        }
        Ok(())
    }

    /// What the optimiser remembers of the variables of `weights`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self, weights: &VarMap) -> Result<OptimizerState> {
        let mut tensors = BTreeMap::new();
        for (name, var) in weights::sorted(weights) {
            let Some(memory) = self.memories.get(&name) else { continue };
            let (m, v) = memory.tensors(&var)?;
            tensors.insert(format!("m/{name}"), m);
            tensors.extend(v.map(|v| (format!("v/{name}"), v)));
        }
        let scalars = serde_json::to_value(self.scalars).map_err(candle_core::Error::wrap)?;
        Ok(OptimizerState { scalars, tensors })
    }

    /// Goes back to a `state` that an optimiser of the same settings had on the same `weights`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the state holds other parameters than the weights.
    pub fn restore(&mut self, state: &OptimizerState, weights: &VarMap) -> Result<()> {
        self.scalars = Scalars::deserialize(&state.scalars).map_err(candle_core::Error::wrap)?;
        self.memories.clear();
        for (name, var) in weights::sorted(weights) {
            let tensor = |of: &str| state.tensors.get(&format!("{of}/{name}"));
            let (Some(m), v) = (tensor("m"), tensor("v")) else { continue };
            let wants_v = self.config.rule() == Rule::Adaptive && var.elem_count() > 0;
            if v.is_some() != wants_v {
                return Err(Error::Shape {
                    what: "what the optimiser keeps",
                    expected: format!("{} v/{name}", if wants_v { "a" } else { "no" }),
                    found: "the state of another algorithm".to_owned(),
                });
            }
            for tensor in [Some(m), v].into_iter().flatten() {
                if tensor.shape() != var.shape() || tensor.dtype() != var.dtype() {
                    return Err(Error::Shape {
                        what: "what the optimiser keeps",
                        expected: format!("{name} {:?} {:?}", var.dtype(), var.shape()),
                        found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
                    });
                }
            }
            self.memories.insert(name, Memory::from_tensors(m, v)?);
        }
        Ok(())
    }
}
