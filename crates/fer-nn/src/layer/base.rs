//! What every layer is, and what their makers and gradients share.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use crate::plan::{Op, Variable};
use crate::{Mode, initializer};

/// A layer of one input that is the same in training: its operation is the kernel of its name, of this field.
macro_rules! layer {
    ($layer:ident, $field:ident) => {
        impl $crate::Layer for $layer {
            fn forward(
                &self,
                xs: &candle_core::Tensor,
                _: $crate::Mode,
            ) -> candle_core::Result<candle_core::Tensor> {
                self.forward(xs)
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn op(&self) -> $crate::plan::Op {
                $crate::plan::Op::$layer(self.$field.clone())
            }
        }

        impl candle_core::Module for $layer {
            fn forward(&self, xs: &candle_core::Tensor) -> candle_core::Result<candle_core::Tensor> {
                self.forward(xs)
            }
        }
    };
}

/// A layer of a [`Graph`](crate::Graph) or a [`Sequential`](crate::Sequential): this crate's, or your own.
///
/// A layer of your own gives its [`forward`](Self::forward), in candle's operations, which bring their gradients. It is
/// called as it is, between the layers that are computed together.
///
/// ```
/// use candle_core::{DType, Device, Result, Tensor};
/// use fer_nn::{Flatten, Layer, Mode, Network, Sequential};
///
/// /// Adds the mirror image.
/// #[derive(Debug)]
/// struct Symmetric;
///
/// impl Layer for Symmetric {
///     fn forward(&self, xs: &Tensor, _mode: Mode) -> Result<Tensor> {
///         (xs + xs.flip(&[3])?)? / 2.0
///     }
/// }
///
/// let net = Sequential::new().add(Symmetric).add(Flatten);
/// let xs = Tensor::new(&[[[[1_f32, 3.0]]]], &Device::Cpu)?;
/// assert_eq!(net.forward(&xs, Mode::Eval)?.to_vec2::<f32>()?, [[2.0, 2.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait Layer: fmt::Debug + Send + Sync {
    /// The output for a batch.
    ///
    /// # Errors
    /// When the layer cannot have such an input, or the device fails.
    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The layer's name, which the names of its variables begin with; a graph numbers layers without one.
    fn name(&self) -> &str {
        ""
    }

    /// What the layer does, where an engine may do it in its own way.
    fn op(&self) -> Op {
        Op::Own
    }

    /// The layer's tensors, as a summary lists them.
    fn variables(&self) -> Vec<Variable> {
        self.op().variables()
    }

    /// The shape of the output for an input of this shape. Unless the layer says so itself, it is asked for the output of
    /// zeros.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn output(&self, input: &[usize]) -> Result<Vec<usize>> {
        match self.op().output(&[input])? {
            Some(output) => Ok(output),
            None => {
                let device = self.variables().first().map_or(Device::Cpu, |v| v.tensor.device().clone());
                Ok(self.forward(&Tensor::zeros(input, DType::F32, &device)?, Mode::Eval)?.dims().to_vec())
            }
        }
    }
}

/// The bias of so many outputs, where there is one.
pub(super) fn bias(is_wanted: bool, outputs: usize, vb: &VarBuilder) -> Result<Option<Tensor>> {
    is_wanted.then(|| vb.get_with_hints(outputs, "bias", initializer::ZEROS)).transpose()
}

/// The gradients that are wanted, of operands in their order: those that nothing depends on are left out.
pub(super) fn wanted(
    operands: &[&Tensor],
    gradients: &[&dyn Fn() -> Result<Tensor>],
) -> Result<Vec<Option<Tensor>>> {
    let of = |(operand, gradient): (&&Tensor, &&dyn Fn() -> Result<Tensor>)| {
        operand.track_op().then(gradient).transpose()
    };
    operands.iter().zip(gradients).map(of).collect()
}
