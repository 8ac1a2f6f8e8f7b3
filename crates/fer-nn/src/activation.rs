//! Activations: functions of one value.

use serde::{Deserialize, Serialize};

/// A function applied to every value of a layer's output, inside the layer or as a layer of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// x: no activation.
    #[default]
    Linear,
    /// max(x, 0).
    Relu,
    /// x where x > 0, else eˣ − 1 (Clevert, Unterthiner and Hochreiter 2015, with α = 1).
    Elu,
    /// x where x > 0, else this times x.
    LeakyRelu(f32),
    /// x·σ(x), σ the logistic function (Elfwing, Uchibe and Doya 2018): PyTorch's `SiLU`, Keras' `swish`.
    Silu,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
}

impl Activation {
    /// Whether the derivative follows from the output alone, so that a layer need not keep what came before.
    pub(crate) fn is_told_by_its_output(self) -> bool {
        match self {
            Self::Silu => false,
            // A negative slope gives both signs the same sign.
            Self::LeakyRelu(slope) => slope >= 0.0,
            _ => true,
        }
    }
}
