//! Maximum pooling whose gradient goes whole to one maximum of each window.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::cpu::{self, pool::Windows};
#[cfg(feature = "cuda")]
use crate::gpu::held;

/// The maximum of every `size` × `size` window, `stride` apart, none beyond the edge (Keras' `valid`).
///
/// The gradient goes whole to the first maximum of a window. (candle's own divides it among the window.)
///
/// # Shapes
/// `(batch, channels, height, width)` to `(batch, channels, (height − size)/stride + 1, …)`
///
/// # Errors
/// When the size or the stride is 0, or no window fits the input.
///
/// ```
/// use candle_core::{Device, Var};
///
/// let xs = Var::new(&[[[[1_f32, 2.0], [4.0, 3.0]]]], &Device::Cpu)?;
/// let ys = fer_nn::max_pool2d(&xs, 2, 2)?;
/// assert_eq!(ys.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// let gradients = ys.backward()?;
/// let dx = gradients.get(&xs).unwrap().flatten_all()?;
/// assert_eq!(dx.to_vec1::<f32>()?, [0.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn max_pool2d(xs: &Tensor, size: usize, stride: usize) -> Result<Tensor> {
    let (_, _, height, width) = xs.dims4()?;
    if size == 0 || stride == 0 || height < size || width < size || xs.elem_count() == 0 {
        bail!("max_pool2d: no {size}×{size} window {stride} apart fits the input {:?}", xs.dims())
    }
    xs.contiguous()?.apply_op1(Forward(Windows { height, width, size, stride }))
}

#[derive(Clone, Copy)]
struct Forward(Windows);

impl CustomOp1 for Forward {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = cpu::pool::max_pool2d(cpu::values(x, lx, self.name())?, self.0);
        let (batch, channels, _, _) = lx.shape().dims4()?;
        Ok((CpuStorage::F32(y), (batch, channels, self.0.out_height(), self.0.out_width()).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        let (batch, channels, _, _) = lx.shape().dims4()?;
        let shape = (batch, channels, self.0.out_height(), self.0.out_width());
        held::run(self.name(), [(x, lx)], shape, |layers, [x], y| {
            layers.max_pool2d(x, y, batch * channels, self.0)
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        x.apply_op2_no_bwd(&dy.contiguous()?, &Backward(self.0)).map(Some)
    }
}

struct Backward(Windows);

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "max_pool2d backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, dy) = (cpu::values(x, lx, self.name())?, cpu::values(dy, ld, self.name())?);
        let dx = cpu::pool::max_pool2d_backward(x, dy, self.0);
        Ok((CpuStorage::F32(dx), lx.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (batch, channels, _, _) = lx.shape().dims4()?;
        held::run(self.name(), [(x, lx), (dy, ld)], lx.shape().clone(), |layers, operands, dx| {
            layers.max_pool2d_backward(operands, dx, batch * channels, self.0)
        })
    }
}
