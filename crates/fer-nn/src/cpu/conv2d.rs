//! Convolution of `(batch, in_channels, height, width)`, forward and backward, each shape by the method that is
//! fastest for it.

use super::elementwise::activate_group;
use super::groups::{GROUP, Images, from_groups, groups, in_lanes, to_groups};
use super::winograd::{self, Direction, Transformed};
use super::{depthwise, im2col};
use crate::Activation;
use crate::geometry::ConvShape;

impl ConvShape {
    /// `(batch, in_channels, height, width)` in groups.
    pub(super) fn group_input(&self, x: &[f32]) -> Vec<f32> {
        grouped(x, self.batch, self.in_channels, self.height * self.width)
    }

    /// `(batch, out_channels, out_height, out_width)` in groups.
    pub(super) fn group_output(&self, y: &[f32]) -> Vec<f32> {
        grouped(y, self.batch, self.out_channels, self.out_area())
    }

    pub(super) fn input<'a>(&self, data: &'a [f32]) -> Images<'a> {
        Images { data, channels: self.in_channels, height: self.height, width: self.width, norm: None }
    }

    pub(super) fn output<'a>(&self, data: &'a [f32]) -> Images<'a> {
        Images {
            data,
            channels: self.out_channels,
            height: self.out_height,
            width: self.out_width,
            norm: None,
        }
    }
}

fn grouped(x: &[f32], batch: usize, channels: usize, area: usize) -> Vec<f32> {
    let mut out = vec![0.0; batch * groups(channels) * area * GROUP];
    to_groups(x, channels, area, &mut out);
    out
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    if depthwise::suits(&s) {
        return depthwise::forward(x, weight, bias, activation, s);
    }
    if !winograd::suits(&s) {
        return im2col::forward(x, weight, bias, activation, s);
    }
    let (x, mut kernel) = (s.group_input(x), Transformed::default());
    kernel.set(weight, Direction::Forward, &s, false);
    let bias = if bias.is_empty() { vec![[0.0; GROUP]; groups(s.out_channels)] } else { in_lanes(bias) };
    let mut out = vec![0.0; s.batch * groups(s.out_channels) * s.out_area() * GROUP];
    winograd::convolve(s.input(&x), &kernel, Direction::Forward, &s, &mut out, 1, |strip, raw, out| {
        activate_group(raw, &bias[strip.group], activation);
        out.copy_from_slice(raw);
    });
    let mut y = vec![0.0; s.batch * s.out_size()];
    from_groups(&out, s.out_channels, s.out_area(), &mut y);
    y
}

/// The gradient of the input, `(batch, in_channels, height, width)`, from that of the output.
pub(crate) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    if depthwise::suits(&s) {
        return depthwise::backward_input(weight, dy, s);
    }
    if !winograd::suits(&s) {
        return im2col::backward_input(weight, dy, s);
    }
    let (dy, mut kernel) = (s.group_output(dy), Transformed::default());
    kernel.set(weight, Direction::InputGradient, &s, false);
    let area = s.height * s.width;
    let mut out = vec![0.0; s.batch * groups(s.in_channels) * area * GROUP];
    let copy = |_, raw: &mut [f32], out: &mut [f32]| out.copy_from_slice(raw);
    winograd::convolve(s.output(&dy), &kernel, Direction::InputGradient, &s, &mut out, 1, copy);
    let mut dx = vec![0.0; s.batch * s.in_size()];
    from_groups(&out, s.in_channels, area, &mut dx);
    dx
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    if depthwise::suits(&s) {
        return depthwise::backward_weight(x, dy, s);
    }
    if !winograd::suits(&s) {
        return im2col::backward_weight(x, dy, s);
    }
    let (x, dy) = (s.group_input(x), s.group_output(dy));
    let mut dw = vec![0.0; s.out_channels * s.in_channels * s.kernel.0 * s.kernel.1];
    winograd::weight_gradient(s.input(&x), s.output(&dy), &s, &mut dw);
    dw
}
