//! Convolution into channel groups, forward and backward, each shape by the method that is fastest for it.

use std::borrow::Cow;

use rayon::prelude::*;

use super::groups::{GROUP, Images, Strip, groups, to_groups};
use super::winograd::{self, Direction, Transformed};
use super::{direct, im2col};
use crate::Activation;
use crate::geometry::ConvShape;

/// What a convolution reads: the plain images that a network is given, or groups.
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

/// A weight, `(out_channels, in_channels, kernel height, kernel width)`, and memory for it.
pub(crate) struct Weight<'a> {
    pub values: &'a [f32],
    /// Whether the values are the same whenever they are used with this `kernel`.
    pub constant: bool,
    pub kernel: &'a mut Transformed,
}

/// The convolution of `x`. `finish` gets the results of some rows of a group of an image, `(rows, width, 16)`, in
/// working memory, and the part of `out` that is theirs, and writes there what becomes of them; what it returns
/// comes back in a fixed order. `out` is `(batch, groups, out_height/pool, out_width/pool, 16)`, `pool` 1 or 2.
pub(crate) fn convolve<T: Send>(
    x: Source,
    weight: Weight,
    s: &ConvShape,
    out: &mut [f32],
    pool: usize,
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    match x {
        Source::Plain(x) if direct::suits(s) => direct::convolve(x, weight.values, s, out, finish),
        x if winograd::suits(s) => {
            let grouped;
            let x = match x {
                Source::Groups(images) => images,
                Source::Plain(x) => {
                    grouped = s.group_input(x);
                    s.input(&grouped)
                }
            };
            weight.kernel.set(weight.values, Direction::Forward, s, weight.constant);
            winograd::convolve(x, weight.kernel, Direction::Forward, s, out, pool, finish)
        }
        x => {
            let bias = vec![0.0; s.out_channels];
            let y = im2col::forward(&x.plain(), weight.values, &bias, Activation::Linear, *s);
            finish_planes(&y, (s.out_channels, s.out_height, s.out_width), out, finish)
        }
    }
}

/// The gradient of the input, from that of the output; see [`convolve`].
pub(crate) fn convolve_back<T: Send>(
    dy: Images,
    weight: Weight,
    s: &ConvShape,
    out: &mut [f32],
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    if winograd::suits(s) {
        weight.kernel.set(weight.values, Direction::InputGradient, s, weight.constant);
        return winograd::convolve(dy, weight.kernel, Direction::InputGradient, s, out, 1, finish);
    }
    let dx = im2col::backward_input(weight.values, &dy.to_plain(), *s);
    finish_planes(&dx, (s.in_channels, s.height, s.width), out, finish)
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(crate) fn weight_gradient(x: Source, dy: Images, s: &ConvShape, dw: &mut [f32]) {
    match x {
        Source::Plain(x) if direct::suits(s) => direct::weight_gradient(x, dy.data, s, dw),
        Source::Plain(x) if winograd::suits(s) => {
            winograd::weight_gradient(s.input(&s.group_input(x)), dy, s, dw);
        }
        Source::Groups(x) if winograd::suits(s) => winograd::weight_gradient(x, dy, s, dw),
        x => dw.copy_from_slice(&im2col::backward_weight(&x.plain(), &dy.to_plain(), *s)),
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
