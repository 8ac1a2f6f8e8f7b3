//! Random values in every memory layout, and how far a tensor is from its reference.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use fer_rand::{Philox, Purpose, Stream, next_double};
use proptest::prelude::*;

use crate::reference::Array;

/// Of the norm of the expected values.
pub const TOLERANCE: f64 = 1e-5;

/// Random values that f32 holds exactly.
pub struct Random(Philox);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Stream { seed, purpose: Purpose::named("layers"), epoch: 0, item: 0 }.rng())
    }

    /// Uniform in −1..1.
    pub fn array(&mut self, dims: &[usize]) -> Array {
        Array::from_shape_simple_fn(dims, || f64::from((2.0 * next_double(&mut self.0) - 1.0) as f32))
    }
}

/// How the values of an input lie in memory.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    Contiguous,
    /// Contiguous, but not at the beginning of its storage.
    Offset,
    /// A part of the last axis of a larger tensor.
    Strided,
    /// The last two axes are swapped.
    Transposed,
}

impl Memory {
    pub fn any() -> impl Strategy<Value = Self> {
        prop_oneof![Just(Self::Contiguous), Just(Self::Offset), Just(Self::Strided), Just(Self::Transposed)]
    }

    /// A variable of which [`view`](Self::view) shows `values`.
    pub fn hold(self, values: &Array) -> Var {
        let values = tensor(values);
        let last = values.rank() - 1;
        let padded = |axis| values.pad_with_zeros(axis, 1, 2).unwrap();
        let base = match self {
            Self::Contiguous => values,
            Self::Offset => padded(0),
            Self::Strided => padded(last),
            Self::Transposed => values.t().unwrap().contiguous().unwrap(),
        };
        Var::from_tensor(&base).unwrap()
    }

    pub fn view(self, base: &Tensor) -> Tensor {
        let inner = |axis| base.narrow(axis, 1, base.dims()[axis] - 3).unwrap();
        match self {
            Self::Contiguous => base.clone(),
            Self::Offset => inner(0),
            Self::Strided => inner(base.rank() - 1),
            Self::Transposed => base.t().unwrap(),
        }
    }
}

/// The values as f32.
pub fn tensor(values: &Array) -> Tensor {
    let data: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_vec(data, values.shape(), &Device::Cpu).unwrap()
}

/// A variable of these values.
pub fn var(values: &Array) -> Var {
    Var::from_tensor(&tensor(values)).unwrap()
}

/// A builder that gives out these very variables.
pub fn builder(vars: &[(&str, &Var)]) -> VarBuilder<'static> {
    let tensors: HashMap<_, _> =
        vars.iter().map(|(name, var)| (name.to_string(), var.as_tensor().clone())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// The gradients of Σ `dy`·`y`.
pub fn gradients<const N: usize>(y: &Tensor, dy: &Array, of: [&Var; N]) -> [Tensor; N] {
    let loss = (y * tensor(dy)).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    of.map(|var| gradients.get(var).expect("a gradient").clone())
}

/// The values in the order of their indices.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that ‖found − expected‖ is at most [`TOLERANCE`]·‖expected‖, the norm being at least that of values
/// of a tenth of `size`: what was added up may cancel.
pub fn assert_close_by(what: &str, found: &Tensor, expected: &Array, size: f64) {
    assert_eq!(found.dims(), expected.shape(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut values(found).iter().zip(expected).map(|(&f, e)| f64::from(f) - e));
    let least = 0.1 * size * (expected.len() as f64).sqrt();
    let norm = norm(&mut expected.iter().copied()).max(least);
    assert!(error <= TOLERANCE * norm, "{what}: off by {:e} of the norm", error / norm);
}

/// [`assert_close_by`] where each value is a sum of so many `terms` in −1..1.
pub fn assert_close(what: &str, found: &Tensor, expected: &Array, terms: usize) {
    assert_close_by(what, found, expected, (terms as f64).sqrt());
}
