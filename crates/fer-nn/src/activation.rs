//! Activations, applied inside the layer that they follow.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::cpu;
#[cfg(feature = "cuda")]
use crate::gpu::held;

/// The function applied to a layer's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// x: no activation.
    #[default]
    Linear,
    /// max(x, 0).
    Relu,
    /// x where x > 0, else eˣ − 1 (Clevert, Unterthiner and Hochreiter 2015, with α = 1).
    Elu,
}

impl Activation {
    /// The gradient before the activation, from its output `y` and the gradient `dy` after it.
    pub(crate) fn backward(self, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear => Ok(dy.clone()),
            _ => y.apply_op2_no_bwd(dy, &Backward(self)),
        }
    }
}

struct Backward(Activation);

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "activation backward"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        ly: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, dy) = (cpu::values(y, ly, self.name())?, cpu::values(dy, ld, self.name())?);
        let dx = cpu::elementwise::activation_backward(y, dy, self.0);
        Ok((CpuStorage::F32(dx), ly.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        ly: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let count = ly.shape().elem_count();
        held::run(self.name(), [(y, ly), (dy, ld)], ly.shape().clone(), |layers, operands, dx| {
            layers.activation_backward(operands, dx, self.0, count)
        })
    }
}
