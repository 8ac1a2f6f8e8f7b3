//! Adam and Nadam, each parameter updated in one pass over its memory.
//!
//! Both are the same update with other factors,
//! ```text
//! m += (g − m)·(1 − β₁)      v += (g² − v)·(1 − β₂)      w −= (a·m + b·g) / (√(c·v) + ε)
//! Adam    a = lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ)              b = 0                          c = 1
//! Nadam   a = lr·u₍ₜ₊₁₎/(1 − Pₜ·u₍ₜ₊₁₎)            b = lr·(1 − uₜ)/(1 − Pₜ)       c = 1/(1 − β₂ᵗ)
//! ```
//! with t from 1, uₜ = β₁·(1 − ½·0.96^(k·t)), k = 0.004 in the notebook's Keras and 1 in Keras 3, Pₜ = ∏uᵢ.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};
use candle_nn::VarMap;
use fer_nn::on_device::{self, Update};
use num_traits::Float;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{Algorithm, Generation, OptimizerConfig};
use crate::{Error, weights};

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
    moments: BTreeMap<String, Moments>,
}

/// What an optimiser remembers beside the moments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Scalars {
    steps: u64,
    momentum_product: f64,
    learning_rate: f32,
}

/// All that an [`Optimizer`] remembers, to go on later exactly as it would have.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    pub(crate) scalars: serde_json::Value,
    /// `m/NAME` and `v/NAME` for each parameter.
    pub(crate) moments: BTreeMap<String, Tensor>,
}

impl Optimizer {
    /// An optimiser at its first step.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that is not allowed.
    pub fn new(config: OptimizerConfig) -> Result<Self, Error> {
        config.validate()?;
        let scalars = Scalars { steps: 0, momentum_product: 1.0, learning_rate: config.learning_rate as f32 };
        Ok(Self { config, scalars, moments: BTreeMap::new() })
    }

    /// The learning rate, in `f32` as Keras keeps it.
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

    /// Updates every variable of `weights` that has a gradient and leaves the others as they are. Returns how
    /// many were updated.
    ///
    /// # Errors
    /// When a variable is neither `f32` nor `f64`, or its gradient is of another shape or type.
    pub fn step(&mut self, weights: &VarMap, gradients: &GradStore) -> Result<usize, Error> {
        let factors = self.advance();
        let mut updated = 0;
        for (name, var) in weights::sorted(weights) {
            let Some(gradient) = gradients.get(&var) else { continue };
            if !self.moments.contains_key(&name) {
                self.moments.insert(name.clone(), Moments::zeros(&var)?);
            }
            if let Some(moments) = self.moments.get_mut(&name) {
                moments.update(&var, &gradient.contiguous()?, &factors)?;
                updated += 1;
            }
        }
        Ok(updated)
    }

    /// Counts the step and gives its factors.
    fn advance(&mut self) -> Factors {
        self.scalars.steps += 1;
        let OptimizerConfig { beta_1, beta_2, epsilon, .. } = self.config;
        let t = self.scalars.steps as f64;
        let learning_rate = f64::from(self.scalars.learning_rate);
        let (of_mean, of_gradient, of_square) = match self.config.algorithm {
            Algorithm::Adam => {
                let correction = (1.0 - beta_2.powf(t)).sqrt() / (1.0 - beta_1.powf(t));
                (learning_rate * correction, 0.0, 1.0)
            }
            Algorithm::Nadam => {
                let decay = match self.config.generation {
                    Generation::Notebook => 0.004,
                    Generation::Keras3 => 1.0,
                };
                let momentum = |t: f64| beta_1 * (1.0 - 0.5 * 0.96_f64.powf(decay * t));
                let (now, next) = (momentum(t), momentum(t + 1.0));
                self.scalars.momentum_product *= now;
                let product = self.scalars.momentum_product;
                (
                    learning_rate * next / (1.0 - product * next),
                    learning_rate * (1.0 - now) / (1.0 - product),
                    1.0 / (1.0 - beta_2.powf(t)),
                )
            }
        };
        let (new_in_mean, new_in_square) = (1.0 - beta_1, 1.0 - beta_2);
        Factors { new_in_mean, new_in_square, of_mean, of_gradient, of_square, epsilon }
    }

    /// Counts a step that a device does, and gives its factors.
    pub(crate) fn next_update(&mut self) -> Update {
        let f = self.advance();
        Update {
            new_in_mean: f.new_in_mean as f32,
            new_in_square: f.new_in_square as f32,
            of_mean: f.of_mean as f32,
            of_gradient: f.of_gradient as f32,
            of_square: f.of_square as f32,
            epsilon: f.epsilon as f32,
        }
    }

    /// The moments of the variables that have been updated, for a device that goes on with them.
    pub(crate) fn moments(&self, weights: &VarMap) -> Result<Vec<on_device::Moments>, Error> {
        let mut all = Vec::new();
        for (name, var) in weights::sorted(weights) {
            if let Some(moments) = self.moments.get(&name) {
                let (m, v) = moments.tensors()?;
                all.push(on_device::Moments { variable: var.id(), m, v });
            }
        }
        Ok(all)
    }

    /// Takes over the moments of a device that updated the variables.
    pub(crate) fn set_moments(
        &mut self,
        moments: &[on_device::Moments],
        weights: &VarMap,
    ) -> Result<(), Error> {
        for (name, var) in weights::sorted(weights) {
            if let Some(of_var) = moments.iter().find(|moments| moments.variable == var.id()) {
                self.moments.insert(name, Moments::from_tensors(&of_var.m, &of_var.v, var.device())?);
            }
        }
        Ok(())
    }

    /// What the optimiser remembers.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self) -> Result<OptimizerState, Error> {
        let mut moments = BTreeMap::new();
        for (name, parameter) in &self.moments {
            let (m, v) = parameter.tensors()?;
            moments.insert(format!("m/{name}"), m);
            moments.insert(format!("v/{name}"), v);
        }
        let scalars = serde_json::to_value(self.scalars).map_err(candle_core::Error::wrap)?;
        Ok(OptimizerState { scalars, moments })
    }

    /// Goes back to a `state` that an optimiser of the same settings had on the same `weights`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the state holds other parameters than the weights.
    pub fn restore(&mut self, state: &OptimizerState, weights: &VarMap) -> Result<(), Error> {
        self.scalars = Scalars::deserialize(&state.scalars).map_err(candle_core::Error::wrap)?;
        self.moments.clear();
        for (name, var) in weights::sorted(weights) {
            let moment = |of: &str| state.moments.get(&format!("{of}/{name}"));
            let (Some(m), Some(v)) = (moment("m"), moment("v")) else { continue };
            for tensor in [m, v] {
                if tensor.shape() != var.shape() || tensor.dtype() != var.dtype() {
                    return Err(Error::Shape {
                        what: "moments of the optimiser",
                        expected: format!("{name} {:?} {:?}", var.dtype(), var.shape()),
                        found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
                    });
                }
            }
            self.moments.insert(name, Moments::from_tensors(m, v, var.device())?);
        }
        Ok(())
    }
}

/// The factors of one step, the same for every parameter.
#[derive(Clone, Copy, Debug)]
struct Factors {
    new_in_mean: f64,
    new_in_square: f64,
    of_mean: f64,
    of_gradient: f64,
    of_square: f64,
    epsilon: f64,
}

/// The moving means of one parameter's gradient (m) and squared gradient (v), where its device wants them.
#[derive(Debug)]
enum Moments {
    F32(Vec<f32>, Vec<f32>, candle_core::Shape),
    F64(Vec<f64>, Vec<f64>, candle_core::Shape),
    Device(Tensor, Tensor),
}

impl Moments {
    fn zeros(var: &Var) -> candle_core::Result<Self> {
        let zeros = var.zeros_like()?;
        Self::from_tensors(&zeros, &zeros, var.device())
    }

    fn from_tensors(m: &Tensor, v: &Tensor, device: &Device) -> candle_core::Result<Self> {
        let shape = m.shape().clone();
        let flat = |tensor: &Tensor| tensor.flatten_all();
        Ok(match (device, m.dtype()) {
            (Device::Cpu, DType::F32) => Self::F32(flat(m)?.to_vec1()?, flat(v)?.to_vec1()?, shape),
            (Device::Cpu, DType::F64) => Self::F64(flat(m)?.to_vec1()?, flat(v)?.to_vec1()?, shape),
            (_, DType::F32 | DType::F64) => Self::Device(m.to_device(device)?, v.to_device(device)?),
            (_, dtype) => candle_core::bail!("the optimiser updates f32 and f64 variables, not {dtype:?}"),
        })
    }

    fn tensors(&self) -> candle_core::Result<(Tensor, Tensor)> {
        let cpu = &Device::Cpu;
        Ok(match self {
            Self::F32(m, v, shape) => {
                (Tensor::from_slice(m, shape, cpu)?, Tensor::from_slice(v, shape, cpu)?)
            }
            Self::F64(m, v, shape) => {
                (Tensor::from_slice(m, shape, cpu)?, Tensor::from_slice(v, shape, cpu)?)
            }
            Self::Device(m, v) => (m.clone(), v.clone()),
        })
    }

    /// One step of `var` by its `gradient`: the one place that differs by device.
    fn update(&mut self, var: &Var, gradient: &Tensor, factors: &Factors) -> candle_core::Result<()> {
        match self {
            Self::F32(..) | Self::F64(..) => {
                let step = Step { moments: Mutex::new(self), factors: *factors };
                var.inplace_op2(gradient, &step)
            }
            Self::Device(m, v) => {
                let f = factors;
                *m = (&*m + (gradient - &*m)?.affine(f.new_in_mean, 0.0)?)?;
                *v = (&*v + (gradient.sqr()? - &*v)?.affine(f.new_in_square, 0.0)?)?;
                let numerator = (m.affine(f.of_mean, 0.0)? + gradient.affine(f.of_gradient, 0.0)?)?;
                let denominator = v.affine(f.of_square, 0.0)?.sqrt()?.affine(1.0, f.epsilon)?;
                var.set(&(var.as_tensor() - (numerator / denominator)?)?)
            }
        }
    }
}

/// A step of one parameter as an operation on its memory.
struct Step<'a> {
    // candle gives operations no mutable self.
    moments: Mutex<&'a mut Moments>,
    factors: Factors,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let range = |layout: &Layout| match layout.contiguous_offsets() {
            Some((start, end)) => Ok(start..end),
            None => candle_core::bail!("the optimiser needs contiguous variables, not {layout:?}"),
        };
        let (w, g) = (range(weights_layout)?, range(gradient_layout)?);
        if w.len() != g.len() {
            candle_core::bail!("a variable of {weights_layout:?} has a gradient of {gradient_layout:?}");
        }
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut **moments, weights, gradient) {
            (Moments::F32(m, v, _), CpuStorage::F32(weights), CpuStorage::F32(gradient)) => {
                update(&mut weights[w], &gradient[g], m, v, &self.factors)
            }
            (Moments::F64(m, v, _), CpuStorage::F64(weights), CpuStorage::F64(gradient)) => {
                update(&mut weights[w], &gradient[g], m, v, &self.factors)
            }
            _ => candle_core::bail!("a variable and its gradient are of different types"),
        }
        Ok(())
    }
}

/// The values that a thread updates at a time: four arrays of them fit into its cache.
const CHUNK: usize = 16 * 1024;

fn update<T: Float + Send + Sync>(w: &mut [T], g: &[T], m: &mut [T], v: &mut [T], factors: &Factors) {
    // Every factor is an ordinary number, which all floats hold.
    let float = |x: f64| T::from(x).unwrap_or_else(T::nan);
    let new_in_mean = float(factors.new_in_mean);
    let new_in_square = float(factors.new_in_square);
    let (of_mean, of_gradient) = (float(factors.of_mean), float(factors.of_gradient));
    let (of_square, epsilon) = (float(factors.of_square), float(factors.epsilon));
    let pass = |w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]| {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m = *m + (g - *m) * new_in_mean;
            *v = *v + (g * g - *v) * new_in_square;
            *w = *w - (of_mean * *m + of_gradient * g) / ((of_square * *v).sqrt() + epsilon);
        }
    };
    if w.len() <= CHUNK {
        return pass(w, g, m, v);
    }
    let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK));
    let chunks = chunks.zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
    chunks.for_each(|(((w, g), m), v)| pass(w, g, m, v));
}

#[cfg(test)]
mod tests {
    use candle_nn::Init;
    use fer_rand::{Purpose, Stream, next_double};

    use super::*;

    const SIZES: [usize; 3] = [1, 7, CHUNK * 2 + 5];

    fn every_rule() -> [OptimizerConfig; 3] {
        let rule = |algorithm, generation| OptimizerConfig { algorithm, generation, ..Default::default() };
        [
            rule(Algorithm::Adam, Generation::Notebook),
            rule(Algorithm::Nadam, Generation::Notebook),
            rule(Algorithm::Nadam, Generation::Keras3),
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

    #[test]
    fn the_single_pass_is_the_composed_update() {
        for config in every_rule() {
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
                let (fused, composed) = (weights(dtype), weights(dtype));
                let mut optimizer = Optimizer::new(config).unwrap();
                let mut factors_of = Optimizer::new(config).unwrap();
                let zeros = |(name, var): (String, Var)| {
                    let zeros = var.zeros_like().unwrap();
                    (name, Moments::Device(zeros.clone(), zeros))
                };
                let mut moments: BTreeMap<_, _> = weights::sorted(&composed).into_iter().map(zeros).collect();
                for step in 0..5 {
                    assert_eq!(optimizer.step(&fused, &gradients(&fused, step)).unwrap(), SIZES.len());
                    let factors = factors_of.advance();
                    let gradients = gradients(&composed, step);
                    for (name, var) in weights::sorted(&composed) {
                        let gradient = gradients.get(&var).unwrap();
                        moments.get_mut(&name).unwrap().update(&var, gradient, &factors).unwrap();
                    }
                }
                for (a, b) in values(&fused).concat().into_iter().zip(values(&composed).concat()) {
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
            second.restore(&first.state().unwrap(), &stopped).unwrap();
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
        let error = optimizer.state().and_then(|state| optimizer.restore(&state, &small)).unwrap_err();
        assert!(error.to_string().contains("expected w0 F32 [2], found F32 [1]"), "{error}");
    }
}
