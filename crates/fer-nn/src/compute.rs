//! How a device computes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The numbers that convolutions and products are made with. Weights, sums, statistics and the optimiser are f32 (or
/// f64) in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Factors rounded to 10 bits behind the point (TensorFloat-32), on cards that have it.
    Tf32,
    /// Convolutions of bfloat16 values, with f32 master weights; dense layers as in `Tf32`.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

/// How a [`Graph`](crate::Graph) computes on a card. The CPU computes in f32, and always the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// The numbers it computes with.
    pub precision: Precision,
    /// Takes algorithms that give the same bits whenever they run on the same card, chosen by their shapes instead of
    /// by trying which is fastest.
    pub deterministic: bool,
}
