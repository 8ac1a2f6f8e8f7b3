//! The fully connected layer with its bias and activation.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use super::base::{bias, wanted};
use crate::kernel::differentiable;
use crate::plan::Affine;
use crate::primitive::Primitive;
use crate::{Activation, initializer};

/// The settings of a [`Dense`].
#[derive(Clone, Copy, Debug)]
pub struct DenseConfig {
    /// The function applied to the output.
    pub activation: Activation,
    /// Whether there is a bias.
    pub bias: bool,
    /// The weight's initialiser; [`glorot_uniform`](initializer::glorot_uniform), Keras' default, when `None`.
    pub initializer: Option<Init>,
}

impl Default for DenseConfig {
    fn default() -> Self {
        Self { activation: Activation::Linear, bias: true, initializer: None }
    }
}

/// A fully connected layer: `activation(x·weightᵀ + bias)`.
///
/// # Shapes
/// - input `(batch, inputs)`
/// - weight `(outputs, inputs)`, bias `(outputs)`
/// - output `(batch, outputs)`
#[derive(Clone, Debug)]
pub struct Dense {
    name: String,
    dense: Affine,
}

impl Dense {
    /// A layer with these weights.
    ///
    /// # Errors
    /// When the weight is not 2-D or is empty, or the bias is not one value an output.
    pub fn new(weight: Tensor, bias: Option<Tensor>, activation: Activation) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        if outputs == 0 || inputs == 0 {
            bail!("dense: {inputs} inputs and {outputs} outputs, both must be at least 1")
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [outputs]) {
            bail!("dense: the bias must have shape ({outputs}), got {:?}", bias.dims())
        }
        Ok(Self { name: String::new(), dense: Affine { weight, bias, activation } })
    }

    /// The same layer under a name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The weight.
    pub fn weight(&self) -> &Tensor {
        &self.dense.weight
    }

    /// The bias, where there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.dense.bias.as_ref()
    }

    /// The output for a batch of vectors.
    ///
    /// # Errors
    /// When the input is not `(batch, inputs)` or is empty.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        const OP: &str = "dense";
        let Affine { weight, bias, activation } = &self.dense;
        let (_, _) = xs.dims2()?;
        let s = self.dense.shape(xs.dims())?;
        let operands: Vec<&Tensor> = [xs, weight].into_iter().chain(bias).collect();
        let inside = if activation.is_told_by_its_output() { *activation } else { Activation::Linear };
        let dims = [s.batch, s.outputs];
        let y = Primitive::Dense(s, inside).run(OP, &operands, &dims)?;
        let y = differentiable(OP, &operands, y, &dims, move |operands, y, dy| {
            let (x, weight, dy) = (operands[0], operands[1], &inside.backward(y, dy)?);
            let (input, weights) = (x.dims(), weight.dims());
            wanted(
                operands,
                &[
                    &|| Primitive::DenseInput(s).tensor("dense backward input", &[weight, dy], input),
                    &|| Primitive::DenseWeight(s).tensor("dense backward weight", &[x, dy], weights),
                    &|| dy.sum(0),
                ],
            )
        })?;
        if inside == *activation { Ok(y) } else { activation.forward(&y) }
    }
}

/// Makes a fully connected layer; bias zero.
///
/// # Errors
/// When a size is 0 or the builder holds other shapes under these names.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{DenseConfig, dense, var_builder};
///
/// let vb = var_builder(&candle_nn::VarMap::new(), 42, &Device::Cpu);
/// let out = dense(128, 3, DenseConfig::default(), vb.pp("out_layer"))?;
/// let logits = out.forward(&Tensor::zeros((5, 128), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(logits.dims(), [5, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dense(inputs: usize, outputs: usize, config: DenseConfig, vb: VarBuilder) -> Result<Dense> {
    if inputs == 0 || outputs == 0 {
        bail!("dense: {inputs} inputs and {outputs} outputs, both must be at least 1")
    }
    let init = config.initializer.unwrap_or_else(|| initializer::glorot_uniform(inputs, outputs));
    let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
    let bias = bias(config.bias, outputs, &vb)?;
    Ok(Dense::new(weight, bias, config.activation)?.named(vb.prefix()))
}

layer!(Dense, dense);
