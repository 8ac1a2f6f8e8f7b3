//! Convolution of `(batch, in_channels, height, width)`, forward and backward, each shape by the method that is
//! fastest for it.

use super::{im2col, winograd};
use crate::Activation;

/// The geometry of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub batch: usize,
    pub in_channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_channels: usize,
    /// The kernel's height and width.
    pub kernel: (usize, usize),
    pub stride: usize,
    /// Rows of zeros above and columns of zeros to the left.
    pub padding: (usize, usize),
    pub out_height: usize,
    pub out_width: usize,
}

impl ConvShape {
    pub(super) fn in_size(&self) -> usize {
        self.in_channels * self.height * self.width
    }

    pub(super) fn out_area(&self) -> usize {
        self.out_height * self.out_width
    }

    pub(super) fn out_size(&self) -> usize {
        self.out_channels * self.out_area()
    }
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    if winograd::suits(&s) {
        winograd::forward(x, weight, bias, activation, s)
    } else {
        im2col::forward(x, weight, bias, activation, s)
    }
}

/// The gradient of the input, `(batch, in_channels, height, width)`, from that of the output.
pub(crate) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    if winograd::suits(&s) {
        winograd::backward_input(weight, dy, s)
    } else {
        im2col::backward_input(weight, dy, s)
    }
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    if winograd::suits(&s) { winograd::backward_weight(x, dy, s) } else { im2col::backward_weight(x, dy, s) }
}
