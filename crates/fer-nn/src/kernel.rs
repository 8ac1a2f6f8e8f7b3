//! One kernel at a time on candle tensors, on whatever device they are.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Storage, op::BackpropOp};

use crate::channel::Channel;
use crate::cpu;
#[cfg(feature = "cuda")]
use crate::gpu::single;
use crate::primitive::Primitive;

/// What a kernel computed, on the device of its operands.
pub(crate) enum Fresh {
    Cpu(Vec<f32>),
    #[cfg(feature = "cuda")]
    Cuda(CudaStorage),
}

impl Primitive<'_> {
    /// Computes from operands of one device; they are made contiguous.
    pub fn run(&self, op: &'static str, operands: &[&Tensor], dims: &[usize]) -> Result<Fresh> {
        let operands = operands.iter().map(|operand| operand.contiguous()).collect::<Result<Vec<_>>>()?;
        let Some(first) = operands.first() else { bail!("{op}: no operand") };
        match first.device() {
            Device::Cpu => {
                cpu::read_all(op, &operands, |values| Fresh::Cpu(self.on_cpu(values, first.dims())))
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => single::run(op, self, &operands, dims).map(Fresh::Cuda),
            device => {
                let _ = dims;
                bail!("{op}: no kernel for {:?}", device.location())
            }
        }
    }

    /// The same as a tensor, of which nothing is known about where it came from.
    pub fn tensor(&self, op: &'static str, operands: &[&Tensor], dims: &[usize]) -> Result<Tensor> {
        match self.run(op, operands, dims)? {
            Fresh::Cpu(values) => Tensor::from_vec(values, dims, &Device::Cpu),
            #[cfg(feature = "cuda")]
            Fresh::Cuda(storage) => {
                Ok(Tensor::from_storage(Storage::Cuda(storage), dims, BackpropOp::none(), false))
            }
        }
    }

    /// On the CPU, the first operand being of these dimensions.
    fn on_cpu(&self, operands: &[&[f32]], dims: &[usize]) -> Vec<f32> {
        let [batch_channels, area] = [dims.get(..2), dims.get(2..)].map(|d| d.unwrap_or_default());
        let (channels, area) = (batch_channels.last().copied().unwrap_or(1), area.iter().product::<usize>());
        match (*self, operands) {
            (Self::Conv2d(s, activation), [x, w, bias @ ..]) => {
                cpu::conv2d::forward(x, w, bias.first().copied().unwrap_or_default(), activation, s)
            }
            (Self::Conv2dInput(s), [w, dy]) => cpu::conv2d::backward_input(w, dy, s),
            (Self::Conv2dWeight(s), [x, dy]) => cpu::conv2d::backward_weight(x, dy, s),
            (Self::ChannelSums(channels, area), [dy]) => {
                cpu::elementwise::sum_per_channel(dy, channels, area)
            }
            (Self::Dense(s, activation), [x, w, bias @ ..]) => {
                cpu::dense::forward(x, w, bias.first().copied().unwrap_or_default(), activation, s)
            }
            (Self::DenseInput(s), [w, dy]) => cpu::dense::backward_input(w, dy, s),
            (Self::DenseWeight(s), [x, dy]) => cpu::dense::backward_weight(x, dy, s),
            (Self::Activation(activation), [x]) => cpu::elementwise::activation(x, activation),
            (Self::ActivationBackward(activation), [y, dy]) => {
                cpu::elementwise::activation_backward(y, dy, activation)
            }
            (Self::MaxPool2d(windows), [x]) => cpu::pool::max_pool2d(x, windows),
            (Self::MaxPool2dBackward(windows), [x, dy]) => cpu::pool::max_pool2d_backward(x, dy, windows),
            (Self::MeanPool2d(windows), [x]) => cpu::pool::mean_pool2d(x, windows),
            (Self::MeanPool2dBackward(windows), [dy]) => cpu::pool::mean_pool2d_backward(dy, windows),
            (Self::Dropout(rate, stream), [x]) => {
                let channels = if dims.len() < 2 { x.len() } else { channels };
                cpu::elementwise::dropout(x, channels, area.max(1), rate, stream)
            }
            (Self::BatchNorm(of_channels, shifts), [x]) => {
                cpu::normalize::forward(x, of_channels, shifts, area)
            }
            (Self::BatchNormInput(of_channels, sums, count), [x, dy]) => {
                cpu::normalize::input_gradient(x, dy, of_channels, sums, count, area)
            }
            _ => Vec::new(),
        }
    }
}

/// The mean and the biased variance of every channel of `(batch, channels, …)`.
pub(crate) fn moments(x: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let x = x.contiguous()?;
    match x.device() {
        Device::Cpu => {
            let (channels, area) = (x.dim(1)?, x.dims()[2..].iter().product());
            cpu::read(&x, |values| cpu::normalize::batch_statistics(values, channels, area))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => single::moments(&x),
        device => bail!("batch_norm: no kernel for {:?}", device.location()),
    }
}

/// (Σ dy·x̂, Σ dy) of every channel of `(batch, channels, …)`.
pub(crate) fn gradient_sums(x: &Tensor, dy: &Tensor, channels: &[Channel]) -> Result<Vec<(f64, f64)>> {
    let operands = [x.contiguous()?, dy.contiguous()?];
    match x.device() {
        Device::Cpu => {
            let area = x.dims()[2..].iter().product();
            cpu::read_all("batch_norm", &operands, |values| match values {
                [x, dy] => cpu::normalize::gradient_sums(x, dy, channels, area),
                _ => Vec::new(),
            })
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => single::gradient_sums(&operands, channels),
        device => bail!("batch_norm: no kernel for {:?}", device.location()),
    }
}

/// The gradients of the operands from the operands, the result and its gradient.
type Backward = dyn Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync;

/// A result that candle can go back through.
struct Differentiable {
    name: &'static str,
    // candle asks for the result through a shared reference, once.
    result: std::sync::Mutex<Option<Fresh>>,
    shape: Shape,
    backward: Box<Backward>,
}

/// The result of a kernel of one, two or three operands, as a tensor with its gradient.
pub(crate) fn differentiable(
    name: &'static str,
    operands: &[&Tensor],
    result: Fresh,
    dims: &[usize],
    backward: impl Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let op = Differentiable {
        name,
        result: std::sync::Mutex::new(Some(result)),
        shape: dims.into(),
        backward: Box::new(backward),
    };
    match operands {
        [a] => a.apply_op1(op),
        [a, b] => a.apply_op2(b, op),
        [a, b, c] => a.apply_op3(b, c, op),
        _ => bail!("{name}: {} operands", operands.len()),
    }
}

impl Differentiable {
    fn take(&self) -> Result<Fresh> {
        let mut result = self.result.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        result.take().ok_or_else(|| candle_core::Error::msg("the result was taken already"))
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            Fresh::Cpu(values) => Ok((CpuStorage::F32(values), self.shape.clone())),
            #[cfg(feature = "cuda")]
            Fresh::Cuda(_) => bail!("{}: operands on two devices", self.name),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            Fresh::Cuda(storage) => Ok((storage, self.shape.clone())),
            Fresh::Cpu(_) => bail!("{}: operands on two devices", self.name),
        }
    }

    fn gradients<const N: usize>(
        &self,
        operands: [&Tensor; N],
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let mut gradients = (self.backward)(&operands, y, &dy.contiguous()?)?.into_iter();
        Ok(std::array::from_fn(|_| gradients.next().flatten()))
    }
}

/// Implements a custom operation of so many operands: the result is there already.
macro_rules! custom_op {
    ($trait:ident, $($operand:ident $storage:ident $layout:ident),*) => {
        impl $trait for Differentiable {
            fn name(&self) -> &'static str {
                self.name
            }

            fn cpu_fwd(&self, $($storage: &CpuStorage, $layout: &Layout),*) -> Result<(CpuStorage, Shape)> {
                $(let _ = ($storage, $layout);)*
                self.cpu()
            }

            #[cfg(feature = "cuda")]
            fn cuda_fwd(&self, $($storage: &CudaStorage, $layout: &Layout),*) -> Result<(CudaStorage, Shape)> {
                $(let _ = ($storage, $layout);)*
                self.cuda()
            }

            fn bwd(&self, $($operand: &Tensor,)* y: &Tensor, dy: &Tensor) -> Result<custom_op!(@grads $($operand)*)> {
                let [$($storage),*] = self.gradients([$($operand),*], y, dy)?;
                Ok(custom_op!(@value $($storage),*))
            }
        }
    };
    (@grads $a:ident) => { Option<Tensor> };
    (@grads $a:ident $b:ident) => { (Option<Tensor>, Option<Tensor>) };
    (@grads $a:ident $b:ident $c:ident) => { (Option<Tensor>, Option<Tensor>, Option<Tensor>) };
    (@value $a:ident) => { $a };
    (@value $($a:ident),*) => { ($($a),*) };
}

custom_op!(CustomOp1, a s1 l1);
custom_op!(CustomOp2, a s1 l1, b s2 l2);
custom_op!(CustomOp3, a s1 l1, b s2 l2, c s3 l3);
