//! Convolutions and dense layers of planar tensors.

use candle_core::Result;

use super::{Planar, Planes};
use crate::Activation;
use crate::geometry::{ConvShape, DenseShape};
use crate::gpu::args::StageArgs;
use crate::gpu::card::{Address, Direction, Gpu, Kind, Product};
use crate::gpu::forward::{number, tail_kernel};

impl<G: Gpu> Planar<G> {
    /// `activation(conv(x, weight) + bias)`.
    pub(super) fn conv2d(
        &self,
        [x, weight, bias]: [Address; 3],
        y: Address,
        activation: Activation,
        s: &ConvShape,
    ) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let (x, weight) = (self.last(x, of_x)?, self.last(weight, of_weight)?);
        let conv = self.gpu().convolution(s, Kind::F32, [false, false])?;
        self.planar(y, of_y, |c| {
            self.gpu().convolve(&conv, Direction::Forward, [x, weight], c)?;
            let kernel = format!("{}_f32_f32", tail_kernel(activation));
            let (activation, slope) = number(activation);
            let args = StageArgs { c, z: c, bias, activation, slope, ..self.stage(of_y)? };
            self.launch(&kernel, of_y, &args)
        })
    }

    /// The gradient of a convolution's input, from the weight and the output's gradient.
    pub(super) fn conv2d_input(&self, [weight, dy]: [Address; 2], dx: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(weight, of_weight)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [true, false])?;
        self.planar(dx, of_x, |dx| self.gpu().convolve(&conv, Direction::Input, operands, dx))
    }

    /// The gradient of a convolution's weight, from the input and the output's gradient.
    pub(super) fn conv2d_weight(&self, [x, dy]: [Address; 2], dw: Address, s: &ConvShape) -> Result<()> {
        let [of_x, of_weight, of_y] = planes(s);
        let operands = [self.last(x, of_x)?, self.last(dy, of_y)?];
        let conv = self.gpu().convolution(s, Kind::F32, [false, true])?;
        self.planar(dw, of_weight, |dw| self.gpu().convolve(&conv, Direction::Weight, operands, dw))
    }

    /// `activation(x·weightᵀ + bias)`.
    pub(super) fn dense(
        &self,
        [x, weight, bias]: [Address; 3],
        y: Address,
        activation: Activation,
        s: DenseShape,
    ) -> Result<()> {
        let DenseShape { batch: rows, outputs: columns, inputs: inner } = s;
        let (a_transposed, b_transposed, adds) = (false, true, false);
        let product =
            Product { a: x, b: weight, c: y, a_transposed, b_transposed, adds, rows, columns, inner };
        self.gpu().multiply(product)?;
        let planes = [rows, columns, 1];
        let kernel = format!("{}_f32_f32", tail_kernel(activation));
        let (activation, slope) = number(activation);
        let args = StageArgs { c: y, z: y, bias, activation, slope, ..self.stage(planes)? };
        self.launch(&kernel, planes, &args)
    }

    /// The gradient of a dense layer's input.
    pub(super) fn dense_input(&self, [weight, dy]: [Address; 2], dx: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: rows, outputs: inner, inputs: columns } = s;
        self.gpu().multiply(Product {
            a: dy,
            b: weight,
            c: dx,
            a_transposed: false,
            b_transposed: false,
            adds: false,
            rows,
            columns,
            inner,
        })
    }

    /// The gradient of a dense layer's weight.
    pub(super) fn dense_weight(&self, [x, dy]: [Address; 2], dw: Address, s: DenseShape) -> Result<()> {
        let DenseShape { batch: inner, outputs: rows, inputs: columns } = s;
        let (a_transposed, b_transposed, adds) = (true, false, false);
        self.gpu().multiply(Product {
            a: dy,
            b: x,
            c: dw,
            a_transposed,
            b_transposed,
            adds,
            rows,
            columns,
            inner,
        })
    }
}

/// A convolution's input, weight and output.
fn planes(s: &ConvShape) -> [Planes; 3] {
    [
        [s.batch, s.in_channels, s.height * s.width],
        [s.out_channels, s.in_channels / s.groups, s.kernel.0 * s.kernel.1],
        [s.batch, s.out_channels, s.out_height * s.out_width],
    ]
}
