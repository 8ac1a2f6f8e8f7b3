//! Activations as layers of their own, and their gradients.

use candle_core::{Module, Result, Tensor};

use super::base::Layer;
use crate::kernel::differentiable;
use crate::plan::Op;
use crate::primitive::Primitive;
use crate::{Activation, Mode};

impl Activation {
    /// The function of every value.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use fer_nn::Activation;
    ///
    /// let xs = Tensor::new(&[-2_f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(Activation::LeakyRelu(0.1).forward(&xs)?.to_vec1::<f32>()?, [-0.2, 3.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        const OP: &str = "activation";
        let this = *self;
        if this == Self::Linear {
            return Ok(xs.clone());
        }
        let y = Primitive::Activation(this).run(OP, &[xs], xs.dims())?;
        differentiable(OP, &[xs], y, xs.dims(), move |operands, y, dy| {
            let told = if this.is_told_by_its_output() { y } else { operands[0] };
            Ok(vec![Some(this.backward(told, dy)?)])
        })
    }

    /// The gradient before the activation, from the gradient `dy` after it and its output; its input where the output does
    /// not tell.
    pub(super) fn backward(self, told: &Tensor, dy: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear => Ok(dy.clone()),
            _ => Primitive::ActivationBackward(self).tensor("activation backward", &[told, dy], dy.dims()),
        }
    }
}

impl Layer for Activation {
    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
        self.forward(xs)
    }

    fn op(&self) -> Op {
        Op::Activation(*self)
    }
}

impl Module for Activation {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward(xs)
    }
}
