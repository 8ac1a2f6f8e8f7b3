//! Initial weights, the same for a seed on every device and whatever the order in which layers are made.

use std::sync::PoisonError;

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{DEFAULT_KAIMING_NORMAL, FanInOut, NormalOrUniform};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};
use fer_rand::{Philox, Purpose, Stream, next_double};
use rand_distr::{Distribution, StandardNormal};

/// All zeros.
pub const ZEROS: Init = Init::Const(0.0);
/// All ones.
pub const ONES: Init = Init::Const(1.0);

/// The standard deviation of a standard normal distribution truncated to ±2.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// Normal of standard deviation √(2/fan_in), truncated to ±2 standard deviations and widened to make up for it:
/// Keras' `he_normal` (He, Zhang, Ren and Sun 2015).
pub const fn he_normal() -> Init {
    DEFAULT_KAIMING_NORMAL
}

/// Uniform in ±√(6 / (fan_in + fan_out)): Keras' `glorot_uniform` (Glorot and Bengio 2010).
pub fn glorot_uniform(fan_in: usize, fan_out: usize) -> Init {
    let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
    Init::Uniform { lo: -limit, up: limit }
}

/// Uniform in ±1/√fan_in: what PyTorch's `Linear` begins with.
pub fn fan_in_uniform(fan_in: usize) -> Init {
    let limit = (fan_in as f64).sqrt().recip();
    Init::Uniform { lo: -limit, up: limit }
}

/// A builder that takes variables from `vars` and makes those that are missing, in f32 on `device`, from the
/// seed and their names.
///
/// Normal initialisers are truncated to ±2 standard deviations, as in Keras; candle's are not.
///
/// ```
/// use candle_core::Device;
/// use candle_nn::VarMap;
/// use fer_nn::{DenseConfig, dense, var_builder};
///
/// let (a, b) = (VarMap::new(), VarMap::new());
/// dense(4, 2, DenseConfig::default(), var_builder(&a, 7, &Device::Cpu).pp("out"))?;
/// dense(4, 2, DenseConfig::default(), var_builder(&b, 7, &Device::Cpu).pp("out"))?;
/// let weight = |vars: &VarMap| vars.data().lock().unwrap()["out.weight"].to_vec2::<f32>();
/// assert_eq!(weight(&a)?, weight(&b)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn var_builder(vars: &VarMap, seed: u64, device: &Device) -> VarBuilder<'static> {
    let backend = Seeded { vars: vars.clone(), seed };
    VarBuilder::from_backend(Box::new(backend), DType::F32, device.clone())
}

struct Seeded {
    vars: VarMap,
    seed: u64,
}

impl SimpleBackend for Seeded {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if !self.contains_tensor(name) {
            let stream = Stream { seed: self.seed, purpose: Purpose::named(name), epoch: 0, item: 0 };
            let values = draw(&shape, init, stream.rng());
            let tensor = Tensor::from_vec(values, &shape, device)?.to_dtype(dtype)?;
            let var = Var::from_tensor(&tensor)?;
            self.vars.data().lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), var);
        }
        self.vars.get(shape, name, init, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        SimpleBackend::get_unchecked(&self.vars, name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.vars.contains_tensor(name)
    }
}

fn draw(shape: &Shape, init: Init, mut rng: Philox) -> Vec<f32> {
    let mut normal = |std: f64| loop {
        let z: f64 = StandardNormal.sample(&mut rng);
        if z.abs() <= 2.0 {
            return z * std;
        }
    };
    let count = shape.elem_count();
    match init {
        Init::Const(value) => vec![value as f32; count],
        Init::Randn { mean, stdev } => (0..count).map(|_| (mean + normal(stdev)) as f32).collect(),
        Init::Uniform { lo, up } => uniform(lo, up, count, rng),
        Init::Kaiming { dist, fan, non_linearity } => {
            let std = non_linearity.gain() / (fan_of(fan, shape.dims()) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => (0..count).map(|_| normal(std / TRUNCATED_STD) as f32).collect(),
                NormalOrUniform::Uniform => uniform(-std * 3_f64.sqrt(), std * 3_f64.sqrt(), count, rng),
            }
        }
    }
}

fn uniform(lo: f64, up: f64, count: usize, mut rng: Philox) -> Vec<f32> {
    (0..count).map(|_| (lo + (up - lo) * next_double(&mut rng)) as f32).collect()
}

/// Inputs or outputs of one unit; at least 1. Weights are `(out, in, …)`.
fn fan_of(fan: FanInOut, dims: &[usize]) -> usize {
    let receptive: usize = dims.iter().skip(2).product();
    let units = match fan {
        FanInOut::FanIn => dims.get(1),
        FanInOut::FanOut => dims.first(),
    };
    (units.copied().unwrap_or(1) * receptive).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(shape: impl Into<Shape>, init: Init, name: &str) -> Vec<f32> {
        let stream = Stream { seed: 1, purpose: Purpose::named(name), epoch: 0, item: 0 };
        draw(&shape.into(), init, stream.rng())
    }

    #[test]
    fn he_normal_has_its_variance_and_is_truncated() {
        let weights = values((128, 64, 3, 3), he_normal(), "conv.weight");
        let std = (2.0_f64 / (64.0 * 9.0)).sqrt();
        let limit = (2.0 * std / TRUNCATED_STD) as f32;
        assert!(weights.iter().all(|w| w.abs() <= limit));
        assert!(weights.iter().any(|w| w.abs() > 0.99 * limit));
        let variance = weights.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / weights.len() as f64;
        assert!((variance.sqrt() / std - 1.0).abs() < 0.01, "{} {std}", variance.sqrt());
    }

    #[test]
    fn fan_in_uniform_fills_its_interval() {
        // √64 is 8.
        let weights = values((32, 64), fan_in_uniform(64), "out.weight");
        let largest = weights.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        assert!((0.124..=0.125).contains(&largest), "{largest}");
    }

    #[test]
    fn glorot_uniform_fills_its_interval() {
        let weights = values((3, 128), glorot_uniform(128, 3), "out.weight");
        let limit = (6.0_f32 / 131.0).sqrt();
        assert!(weights.iter().all(|w| w.abs() <= limit) && weights.iter().any(|w| w.abs() > 0.95 * limit));
    }

    #[test]
    fn variables_depend_on_their_names() {
        assert_ne!(values(8, he_normal(), "a"), values(8, he_normal(), "b"));
    }
}
