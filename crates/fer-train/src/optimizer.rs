//! Updates of a network's variables by their gradients.

mod config;
mod memory;
mod rule;
mod update;

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::VarMap;
use fer_nn::engine::{Slots, Update};
use serde::Deserialize;

pub use config::{Algorithm, OptimizerConfig};
pub(crate) use update::Blend;

use crate::{Error, weights};
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
    pub fn new(config: OptimizerConfig) -> Result<Self, Error> {
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
    pub fn step(&mut self, weights: &VarMap, gradients: &GradStore) -> Result<usize, Error> {
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
    ) -> Result<usize, Error> {
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
    pub(crate) fn slots(&self, weights: &VarMap) -> Result<Vec<Slots>, Error> {
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
    pub(crate) fn set_slots(&mut self, slots: &[Slots], weights: &VarMap) -> Result<(), Error> {
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
    pub fn state(&self, weights: &VarMap) -> Result<OptimizerState, Error> {
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
    pub fn restore(&mut self, state: &OptimizerState, weights: &VarMap) -> Result<(), Error> {
        self.scalars = Scalars::deserialize(&state.scalars).map_err(candle_core::Error::wrap)?;
        self.memories.clear();
        for (name, var) in weights::sorted(weights) {
            let tensor = |of: &str| state.tensors.get(&format!("{of}/{name}"));
            let (Some(m), v) = (tensor("m"), tensor("v")) else { continue };
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::Init;
    use fer_rand::{Purpose, Stream, next_double};

    use super::update::CHUNK;
    use super::*;
    use crate::Generation;

    const SIZES: [usize; 3] = [1, 7, CHUNK * 2 + 5];

    fn every_rule() -> [OptimizerConfig; 8] {
        let of = |algorithm| OptimizerConfig { algorithm, ..Default::default() };
        let sgd = OptimizerConfig { learning_rate: 0.05, ..of(Algorithm::Sgd) };
        [
            of(Algorithm::Adam),
            of(Algorithm::Nadam),
            OptimizerConfig { generation: Generation::Keras3, ..of(Algorithm::Nadam) },
            OptimizerConfig { weight_decay: 0.1, decay_all: true, ..of(Algorithm::AdamW) },
            OptimizerConfig { weight_decay: 0.1, decay_all: true, decoupled: true, ..of(Algorithm::Adam) },
            sgd,
            OptimizerConfig { nesterov: true, weight_decay: 0.1, ..sgd },
            OptimizerConfig {
                nesterov: true,
                weight_decay: 0.1,
                decay_all: true,
                clip_norm: Some(0.5),
                ..sgd
            },
        ]
    }

    fn random(len: usize, item: u32) -> Tensor {
        let mut rng = Stream { seed: 3, purpose: Purpose::named("gradient"), epoch: 0, item }.rng();
        let values: Vec<f64> = (0..len).map(|_| next_double(&mut rng) - 0.5).collect();
        Tensor::from_vec(values, len, &Device::Cpu).unwrap()
    }

    fn weights(dtype: DType) -> VarMap {
        let weights = VarMap::new();
        for (i, &len) in SIZES.iter().enumerate() {
            weights.get(len, &format!("w{i}"), Init::Const(0.5), dtype, &Device::Cpu).unwrap();
        }
        weights
    }

    /// Gradients of step `step`, the same for every type.
    fn gradients(weights: &VarMap, step: u32) -> GradStore {
        let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
        for (i, (_, var)) in weights::sorted(weights).into_iter().enumerate() {
            let wanted = random(var.elem_count(), step * 10 + i as u32);
            loss = (loss + (var.to_dtype(DType::F64).unwrap() * wanted).unwrap().sum_all().unwrap()).unwrap();
        }
        loss.backward().unwrap()
    }

    fn values(weights: &VarMap) -> Vec<Vec<f64>> {
        let values = |var: Var| var.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        weights::sorted(weights).into_values().map(values).collect()
    }

    /// The definitions in the module `rule` and in `fer_nn::engine::Update`, a number at a time.
    fn plain(
        config: &OptimizerConfig,
        u: &Update,
        w: &mut [Vec<f64>],
        g: &[Vec<f64>],
        kept: &mut [Vec<[f64; 2]>],
    ) {
        let float = |x: f32| f64::from(x);
        let norm = g.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let scale = if u.clip > 0.0 { (float(u.clip) / (norm + 1e-6)).min(1.0) } else { 1.0 };
        for ((w, g), kept) in w.iter_mut().zip(g).zip(kept) {
            for ((w, g), [m, v]) in w.iter_mut().zip(g).zip(kept) {
                // The variables of this test have one dimension.
                let (decay, shrink) =
                    if config.decay_all { (float(u.decay), float(u.shrink)) } else { (0.0, 0.0) };
                let g = g * scale + decay * *w;
                let before = *w;
                match config.rule() {
                    fer_nn::engine::Rule::Adaptive => {
                        *m += (g - *m) * float(u.new_in_mean);
                        *v += (g * g - *v) * float(u.new_in_square);
                        let below = (float(u.of_square) * *v).sqrt() + float(u.epsilon);
                        *w -= (float(u.of_mean) * *m + float(u.of_gradient) * g) / below;
                    }
                    fer_nn::engine::Rule::Momentum => {
                        *m = float(u.momentum) * *m + g;
                        *w -= float(u.of_mean) * *m + float(u.of_gradient) * g;
                    }
                }
                *w -= shrink * before;
            }
        }
    }

    #[test]
    fn the_single_pass_is_the_definition() {
        for config in every_rule() {
            for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-13)] {
                let fused = weights(dtype);
                let mut optimizer = Optimizer::new(config).unwrap();
                let mut factors_of = Optimizer::new(config).unwrap();
                let mut w = values(&fused);
                let mut kept: Vec<Vec<[f64; 2]>> = w.iter().map(|w| vec![[0.0; 2]; w.len()]).collect();
                for step in 0..5 {
                    let gradients = gradients(&fused, step);
                    let gradient = |var: Var| {
                        gradients.get(&var).unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
                    };
                    let g: Vec<Vec<f64>> = weights::sorted(&fused).into_values().map(gradient).collect();
                    assert_eq!(optimizer.step(&fused, &gradients).unwrap(), SIZES.len());
                    plain(&config, &factors_of.next_update(1.0), &mut w, &g, &mut kept);
                }
                for (a, b) in values(&fused).concat().into_iter().zip(w.concat()) {
                    assert!((a - b).abs() <= tolerance, "{config:?} {dtype:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_restored_optimiser_goes_on_to_the_bit() {
        for config in every_rule() {
            let straight = weights(DType::F32);
            let mut optimizer = Optimizer::new(config).unwrap();
            let stopped = weights(DType::F32);
            let mut first = Optimizer::new(config).unwrap();
            for step in 0..4 {
                optimizer.step(&straight, &gradients(&straight, step)).unwrap();
                first.step(&stopped, &gradients(&stopped, step)).unwrap();
            }
            first.set_learning_rate(3e-4);
            optimizer.set_learning_rate(3e-4);
            let mut second = Optimizer::new(config).unwrap();
            second.restore(&first.state(&stopped).unwrap(), &stopped).unwrap();
            for step in 4..8 {
                optimizer.step(&straight, &gradients(&straight, step)).unwrap();
                second.step(&stopped, &gradients(&stopped, step)).unwrap();
            }
            assert_eq!(values(&straight), values(&stopped));
            assert_eq!(second.steps(), 8);
        }
    }

    #[test]
    fn a_variable_without_gradient_stays() {
        let weights = weights(DType::F32);
        let w0 = weights::sorted(&weights)["w0"].clone();
        let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
        let loss = w0.sum_all().unwrap();
        assert_eq!(optimizer.step(&weights, &loss.backward().unwrap()).unwrap(), 1);
        assert!(values(&weights)[1].iter().all(|&w| w == 0.5));
        assert!(values(&weights)[0][0] < 0.5);
    }

    #[test]
    fn moments_of_another_shape_are_refused() {
        let small = VarMap::new();
        small.get(2, "w0", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
        let large = weights(DType::F32);
        let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
        optimizer.step(&large, &gradients(&large, 0)).unwrap();
        let error = optimizer.state(&large).and_then(|state| optimizer.restore(&state, &small)).unwrap_err();
        assert!(error.to_string().contains("expected w0 F32 [2], found F32 [1]"), "{error}");
    }

    #[test]
    fn weight_decay_leaves_biases_and_norms_unless_asked() {
        let decayed = |algorithm, decay_all| {
            let weights = VarMap::new();
            for (name, shape) in [("matrix", vec![2, 2]), ("bias", vec![2])] {
                weights.get(shape, name, Init::Const(1.0), DType::F32, &Device::Cpu).unwrap();
            }
            let config = OptimizerConfig { algorithm, weight_decay: 0.5, decay_all, ..Default::default() };
            let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
            for var in weights.all_vars() {
                loss = (loss + (var.sum_all().unwrap() * 1e-20).unwrap()).unwrap();
            }
            Optimizer::new(config).unwrap().step(&weights, &loss.backward().unwrap()).unwrap();
            let fell = |name: &str| {
                weights::sorted(&weights)[name].min_all().unwrap().to_scalar::<f32>().unwrap() < 1.0
            };
            (fell("matrix"), fell("bias"))
        };
        for algorithm in [Algorithm::Adam, Algorithm::Nadam, Algorithm::AdamW, Algorithm::Sgd] {
            assert_eq!((decayed(algorithm, false), decayed(algorithm, true)), ((true, false), (true, true)));
        }
    }
}
