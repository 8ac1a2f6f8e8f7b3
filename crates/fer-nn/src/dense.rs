//! The fully connected layer with its bias and activation.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::cpu::{self, dense::DenseShape};
#[cfg(feature = "cuda")]
use crate::gpu::held;
use crate::{Activation, initializer};

/// The settings of a [`Dense`].
#[derive(Clone, Copy, Debug, Default)]
pub struct DenseConfig {
    /// The function applied to the output.
    pub activation: Activation,
    /// The weight's initialiser; [`glorot_uniform`](initializer::glorot_uniform), Keras' default, when `None`.
    pub initializer: Option<Init>,
}

/// A fully connected layer: `activation(x·weightᵀ + bias)`.
///
/// # Shapes
/// - input `(batch, inputs)`
/// - weight `(outputs, inputs)`, bias `(outputs)`
/// - output `(batch, outputs)`
#[derive(Clone, Debug)]
pub struct Dense {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) activation: Activation,
}

impl Dense {
    /// The output for a batch of vectors.
    ///
    /// # Errors
    /// When the input is not `(batch, inputs)` or is empty.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (batch, inputs) = xs.dims2()?;
        let (outputs, expected) = self.weight.dims2()?;
        if inputs != expected || batch == 0 {
            bail!("dense: expected (batch, {expected}), got {:?}", xs.dims())
        }
        let shape = DenseShape { batch, inputs, outputs };
        let (weight, bias) = (self.weight.contiguous()?, self.bias.contiguous()?);
        xs.contiguous()?.apply_op3(&weight, &bias, Forward { shape, activation: self.activation })
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
    Ok(Dense {
        weight: vb.get_with_hints((outputs, inputs), "weight", init)?,
        bias: vb.get_with_hints(outputs, "bias", initializer::ZEROS)?,
        activation: config.activation,
    })
}

#[derive(Clone, Copy)]
struct Forward {
    shape: DenseShape,
    activation: Activation,
}

impl CustomOp3 for Forward {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = cpu::values(x, lx, self.name())?;
        let weight = cpu::values(weight, lw, self.name())?;
        let bias = cpu::values(bias, lb, self.name())?;
        let y = cpu::dense::forward(x, weight, bias, self.activation, self.shape);
        Ok((CpuStorage::F32(y), (self.shape.batch, self.shape.outputs).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        weight: &CudaStorage,
        lw: &Layout,
        bias: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (operands, s) = ([(x, lx), (weight, lw), (bias, lb)], self.shape);
        held::run(self.name(), operands, (s.batch, s.outputs), |layers, operands, y| {
            layers.dense(operands, y, self.activation, s)
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = self.activation.backward(y, &dy.contiguous()?)?;
        let dx =
            x.track_op().then(|| weight.apply_op2_no_bwd(&dy, &BackwardInput(self.shape))).transpose()?;
        let dw = x.apply_op2_no_bwd(&dy, &BackwardWeight(self.shape))?;
        Ok((dx, Some(dw), Some(dy.sum(0)?)))
    }
}

struct BackwardInput(DenseShape);

impl CustomOp2 for BackwardInput {
    fn name(&self) -> &'static str {
        "dense backward input"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        lw: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (w, dy) = (cpu::values(w, lw, self.name())?, cpu::values(dy, ld, self.name())?);
        let dx = cpu::dense::backward_input(w, dy, self.0);
        Ok((CpuStorage::F32(dx), (self.0.batch, self.0.inputs).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        w: &CudaStorage,
        lw: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = (self.0.batch, self.0.inputs);
        held::run(self.name(), [(w, lw), (dy, ld)], shape, |layers, operands, dx| {
            layers.dense_input(operands, dx, self.0)
        })
    }
}

struct BackwardWeight(DenseShape);

impl CustomOp2 for BackwardWeight {
    fn name(&self) -> &'static str {
        "dense backward weight"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, dy) = (cpu::values(x, lx, self.name())?, cpu::values(dy, ld, self.name())?);
        let dw = cpu::dense::backward_weight(x, dy, self.0);
        Ok((CpuStorage::F32(dw), (self.0.outputs, self.0.inputs).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = (self.0.outputs, self.0.inputs);
        held::run(self.name(), [(x, lx), (dy, ld)], shape, |layers, operands, dw| {
            layers.dense_weight(operands, dw, self.0)
        })
    }
}
