//! Pooling by square windows: the maximum, whose gradient goes whole to one place, and the mean.

use candle_core::{Module, Result, Tensor, bail};

use super::base::Layer;
use crate::Mode;
use crate::geometry::{Padding, Windows};
use crate::kernel::differentiable;
use crate::plan::{Op, Pool};
use crate::primitive::Primitive;

/// The maximum of every window.
///
/// The gradient goes whole to the first maximum of a window. (candle's own divides it among the window.) Values beyond the
/// edge are no part of a window, as in Keras and PyTorch.
///
/// # Shapes
/// `(batch, channels, height, width)` to `(batch, channels, (height − size)/stride + 1, …)` without padding
///
/// ```
/// use candle_core::{Device, Module, Var};
/// use fer_nn::{MaxPool2d, Padding};
///
/// let xs = Var::new(&[[[[1_f32, 2.0, 0.0], [4.0, 3.0, 5.0]]]], &Device::Cpu)?;
/// assert_eq!(MaxPool2d::new(2, 2)?.forward(&xs)?.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// let same = MaxPool2d::new(2, 2)?.padding(Padding::Same);
/// let ys = same.forward(&xs)?;
/// assert_eq!(ys.flatten_all()?.to_vec1::<f32>()?, [4.0, 5.0]);
/// let gradients = ys.backward()?;
/// let dx = gradients.get(&xs).unwrap().flatten_all()?;
/// assert_eq!(dx.to_vec1::<f32>()?, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    name: String,
    pool: Pool,
}

/// The mean of every window. Values beyond the edge do not count, as in Keras and in PyTorch with
/// `count_include_pad=False`.
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use fer_nn::{MeanPool2d, Padding};
///
/// let xs = Tensor::new(&[[[[1_f32, 2.0, 6.0], [4.0, 3.0, 8.0]]]], &Device::Cpu)?;
/// let same = MeanPool2d::new(2, 2)?.padding(Padding::Same);
/// assert_eq!(same.forward(&xs)?.flatten_all()?.to_vec1::<f32>()?, [2.5, 7.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MeanPool2d {
    name: String,
    pool: Pool,
}

fn pool(op: &str, size: usize, stride: usize) -> Result<Pool> {
    if size == 0 || stride == 0 {
        bail!("{op}: size {size} and stride {stride}, both must be at least 1")
    }
    Ok(Pool { size, stride, padding: Padding::Valid })
}

/// The windows of images, and the shape of what comes of them.
fn windows(op: &'static str, pool: &Pool, xs: &Tensor) -> Result<(Windows, [usize; 4])> {
    let (batch, channels, height, width) = xs.dims4()?;
    if xs.elem_count() == 0 {
        bail!("{op}: the input is empty: {:?}", xs.dims())
    }
    let windows = pool.windows(op, [height, width])?;
    Ok((windows, [batch, channels, windows.out_height, windows.out_width]))
}

fn max(xs: &Tensor, pool: &Pool) -> Result<Tensor> {
    const OP: &str = "max_pool2d";
    let (windows, dims) = windows(OP, pool, xs)?;
    let y = Primitive::MaxPool2d(windows).run(OP, &[xs], &dims)?;
    differentiable(OP, &[xs], y, &dims, move |operands, _, dy| {
        let x = operands[0];
        let backward = Primitive::MaxPool2dBackward(windows);
        Ok(vec![Some(backward.tensor("max_pool2d backward", &[x, dy], x.dims())?)])
    })
}

fn mean(xs: &Tensor, pool: &Pool) -> Result<Tensor> {
    const OP: &str = "mean_pool2d";
    let (windows, dims) = windows(OP, pool, xs)?;
    let y = Primitive::MeanPool2d(windows).run(OP, &[xs], &dims)?;
    differentiable(OP, &[xs], y, &dims, move |operands, _, dy| {
        let backward = Primitive::MeanPool2dBackward(windows);
        Ok(vec![Some(backward.tensor("mean_pool2d backward", &[dy], operands[0].dims())?)])
    })
}

/// A [`MaxPool2d`] without padding, as a function.
///
/// # Errors
/// When the size or the stride is 0, or no window fits the input.
pub fn max_pool2d(xs: &Tensor, size: usize, stride: usize) -> Result<Tensor> {
    max(xs, &pool("max_pool2d", size, stride)?)
}

/// A [`MeanPool2d`] without padding, as a function.
///
/// # Errors
/// When the size or the stride is 0, or no window fits the input.
pub fn mean_pool2d(xs: &Tensor, size: usize, stride: usize) -> Result<Tensor> {
    mean(xs, &pool("mean_pool2d", size, stride)?)
}

macro_rules! layer {
    ($layer:ident, $op:literal, $forward:ident) => {
        impl $layer {
            /// Windows of `size` × `size` values, `stride` apart, none beyond the edge.
            ///
            /// # Errors
            /// When one of them is 0.
            pub fn new(size: usize, stride: usize) -> Result<Self> {
                Ok(Self { name: String::new(), pool: pool($op, size, stride)? })
            }

            /// The same with windows beyond the edge.
            pub fn padding(self, padding: Padding) -> Self {
                Self { pool: Pool { padding, ..self.pool }, ..self }
            }

            /// The same layer under a name.
            pub fn named(self, name: impl Into<String>) -> Self {
                Self { name: name.into(), ..self }
            }
        }

        impl Layer for $layer {
            fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
                $forward(xs, &self.pool)
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn op(&self) -> Op {
                Op::$layer(self.pool)
            }
        }

        impl Module for $layer {
            fn forward(&self, xs: &Tensor) -> Result<Tensor> {
                $forward(xs, &self.pool)
            }
        }
    };
}

layer!(MaxPool2d, "max_pool2d", max);
layer!(MeanPool2d, "mean_pool2d", mean);
