//! Convolution, forward and backward, each shape by the method that is fastest for it: of plain tensors
//! `(batch, in_channels, height, width)`, and of channel groups.

use std::borrow::Cow;

use rayon::prelude::*;

use super::groups::{GROUP, Images, Strip, groups, to_groups};
use super::{direct, im2col, winograd};
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

/// What a convolution into groups reads: the plain images that a network is given, or groups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Plain(&'a [f32]),
    Groups(Images<'a>),
}

impl<'a> Source<'a> {
    /// The normalised values as `(batch, channels, height, width)`.
    fn plain(self) -> Cow<'a, [f32]> {
        match self {
            Self::Plain(x) => Cow::Borrowed(x),
            Self::Groups(images) => Cow::Owned(images.to_plain()),
        }
    }
}

/// The convolution of `x` in groups. `finish` gets the results of some rows of a group of an image, `(rows, width,
/// 16)`, in working memory, and the part of `out` that is theirs, and writes there what becomes of them; what it
/// returns comes back in a fixed order. `out` is `(batch, groups, out_height/pool, out_width/pool, 16)`.
pub(crate) fn convolve<T: Send>(
    x: Source,
    weight: &[f32],
    s: &ConvShape,
    out: &mut [f32],
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    match x {
        Source::Plain(x) if direct::suits(s) => direct::convolve(x, weight, s, out, finish),
        _ => {
            let bias = vec![0.0; s.out_channels];
            let y = forward(&x.plain(), weight, &bias, Activation::Linear, *s);
            finish_planes(&y, (s.out_channels, s.out_height, s.out_width), out, finish)
        }
    }
}

/// The gradient of the input in groups, from that of the output; see [`convolve`].
pub(crate) fn convolve_back<T: Send>(
    dy: Images,
    weight: &[f32],
    s: &ConvShape,
    out: &mut [f32],
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let dx = backward_input(weight, &dy.to_plain(), *s);
    finish_planes(&dx, (s.in_channels, s.height, s.width), out, finish)
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`, from groups.
pub(crate) fn weight_gradient(x: Source, dy: Images, s: &ConvShape, dw: &mut [f32]) {
    match x {
        Source::Plain(x) if direct::suits(s) => direct::weight_gradient(x, dy.data, s, dw),
        _ => dw.copy_from_slice(&backward_weight(&x.plain(), &dy.to_plain(), *s)),
    }
}

/// Brings plain results `(batch, channels, height, width)` into groups, a group of an image at a time.
fn finish_planes<T: Send>(
    y: &[f32],
    (channels, height, width): (usize, usize, usize),
    out: &mut [f32],
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let (area, of_image) = (height * width, groups(channels));
    let mut grouped = vec![0.0; y.len() / channels * of_image * GROUP];
    to_groups(y, channels, area, &mut grouped);
    let plane_len = out.len() / (grouped.len() / (area * GROUP));
    let planes = grouped.par_chunks_exact_mut(area * GROUP).zip(out.par_chunks_exact_mut(plane_len));
    let results = planes.enumerate().map(|(plane, (y, out))| {
        let (image, group) = (plane / of_image, plane % of_image);
        finish(Strip { image, group, first_row: 0, rows: height }, y, out)
    });
    results.collect()
}
