//! What cuDNN is told of a convolution.

use std::ffi::c_int;

use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::{Error, Result};

use super::super::card::{Direction, Kind};
use crate::Precision;
use crate::geometry::ConvShape;

macro_rules! descriptor {
    ($name:ident, $type:ident, $create:ident, $destroy:ident) => {
        pub(super) struct $name(pub sys::$type);

        impl $name {
            fn new() -> Result<Self> {
                Ok(Self(result::$create().map_err(Error::wrap)?))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the descriptor was made by `new` and is used no more.
                let _ = unsafe { result::$destroy(self.0) };
            }
        }
    };
}

descriptor!(TensorOf, cudnnTensorDescriptor_t, create_tensor_descriptor, destroy_tensor_descriptor);
descriptor!(FilterOf, cudnnFilterDescriptor_t, create_filter_descriptor, destroy_filter_descriptor);
descriptor!(
    ConvOf,
    cudnnConvolutionDescriptor_t,
    create_convolution_descriptor,
    destroy_convolution_descriptor
);

/// A convolution's shapes, channels last, and what it is computed with.
pub(super) struct Shapes {
    pub x: TensorOf,
    pub w: FilterOf,
    pub y: TensorOf,
    pub conv: ConvOf,
    pub shape: ConvShape,
    pub kind: Kind,
    pub precision: Precision,
}

impl Shapes {
    pub fn new(shape: ConvShape, kind: Kind, precision: Precision) -> Result<Self> {
        let this = Self {
            x: TensorOf::new()?,
            w: FilterOf::new()?,
            y: TensorOf::new()?,
            conv: ConvOf::new()?,
            shape,
            kind,
            precision,
        };
        this.describe()?;
        Ok(this)
    }

    fn describe(&self) -> Result<()> {
        let s = &self.shape;
        let data = match self.kind {
            Kind::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Kind::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let sizes = |sizes: [usize; 4]| sizes.map(|n| n as c_int);
        let last = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let images = [s.batch, s.in_channels, s.height, s.width];
        let weights = [s.out_channels, s.in_channels / s.groups, s.kernel.0, s.kernel.1];
        let results = [s.batch, s.out_channels, s.out_height, s.out_width];
        let [top, left, stride] = [s.padding.0, s.padding.1, s.stride].map(|n| n as c_int);
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let sums = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        let conv = self.conv.0;
        // SAFETY: the descriptors are alive.
        unsafe {
            result::set_tensor4d_descriptor(self.x.0, last, data, sizes(images)).map_err(Error::wrap)?;
            result::set_filter4d_descriptor(self.w.0, data, last, sizes(weights)).map_err(Error::wrap)?;
            result::set_tensor4d_descriptor(self.y.0, last, data, sizes(results)).map_err(Error::wrap)?;
            result::set_convolution2d_descriptor(conv, top, left, stride, stride, 1, 1, mode, sums)
                .map_err(Error::wrap)?;
            result::set_convolution_group_count(conv, s.groups as c_int).map_err(Error::wrap)?;
        }
        self.compute_by(self.maths()[0])
    }

    /// The kinds of arithmetic that give the precision.
    pub fn maths(&self) -> &'static [sys::cudnnMathType_t] {
        use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
        match self.precision {
            Precision::F32 => &[CUDNN_FMA_MATH],
            Precision::Tf32 => &[CUDNN_DEFAULT_MATH],
            // The default keeps bfloat16 from the tensor cores, on which narrow groups may be slow.
            Precision::Bf16 if self.shape.groups > 1 => &[CUDNN_TENSOR_OP_MATH, CUDNN_DEFAULT_MATH],
            Precision::Bf16 => &[CUDNN_TENSOR_OP_MATH],
        }
    }

    /// Lets what is queued from now on use this arithmetic.
    pub fn compute_by(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the descriptor is alive.
        unsafe { result::set_convolution_math_type(self.conv.0, math) }.map_err(Error::wrap)
    }

    /// The bytes of the input, of the weight and of the output.
    pub fn bytes(&self) -> [usize; 3] {
        let s = &self.shape;
        [s.batch * s.in_size(), s.weight_len(), s.batch * s.out_size()].map(|len| len * self.kind.size())
    }

    /// A name for what is computed in a direction.
    pub fn name(&self, direction: Direction) -> String {
        let ConvShape { batch, in_channels, height, width, out_channels, stride, groups, .. } = self.shape;
        let ((rows, columns), (top, left)) = (self.shape.kernel, self.shape.padding);
        let (of, kind, precision) = (direction.name(), self.kind.name(), self.precision);
        format!(
            "{of}_{precision}_{kind}_{batch}x{in_channels}x{height}x{width}_to_{out_channels}_by_{rows}x{columns}\
             _pad_{top}x{left}_stride_{stride}_groups_{groups}"
        )
    }
}
