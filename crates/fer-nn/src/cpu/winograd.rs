//! Convolution with 3×3 and 5×5 kernels, stride 1, in a quarter and less of the multiplications.
//!
//! Outputs are computed in tiles of 4×4 by minimal filtering (Winograd 1980; Lavin and Gray 2016; the points of
//! the Cook–Toom algorithm are in [`transform`]). With `d` the n×n inputs under a tile, n = 3 + r, and `g` the
//! r×r kernel,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! where ⊙ multiplies position by position; summed over input channels, that is one matrix product for each of
//! the n² positions: F(4×4, 3×3) needs 36 multiplications where 144 are plain, F(4×4, 5×5) 64 instead of 400.
//! The input's gradient is the convolution of the output's with the kernel turned by half; the weight's is
//! itself a minimal filtering with 4×4 tiles of the output's gradient as kernels ([`mod@weight_gradient`]).
//!
//! Tiles are transformed with channels innermost, in groups of sixteen, and worked on in blocks whose transformed
//! inputs and products stay in cache.
//!
//! Relative error, ‖got − exact‖ / ‖exact‖, against a convolution in f64 of near-normal values:
//!
//! | kernel | channels | output | input's gradient | weight's gradient |
//! | --- | --- | --- | --- | --- |
//! | 5×5 | 64 → 64 | 3.1e-6 | 3.1e-6 | 2.6e-6 |
//! | 3×3 | 64 → 128 | 1.1e-6 | 1.5e-6 | 0.9e-6 |
//! | 3×3 | 256 → 256 | 2.1e-6 | 2.1e-6 | 0.7e-6 |

mod forward;
mod kernel;
mod lanes;
mod tiles;
mod transform;
mod weight_gradient;

use self::forward::{Output, convolve};
use self::kernel::Kernel;
use self::lanes::GROUP;
use self::tiles::{Grid, Planes};
use self::weight_gradient::weight_gradient;
use super::conv2d::ConvShape;
use super::elementwise::add_bias_and_activate;
use super::matmul::{Mat, matmul};
use super::scratch::with_scratch;
use crate::Activation;

/// Rows and columns of outputs in a tile.
const TILE: usize = 4;

/// Whether this is the method for a convolution: at least half of the multiplications are saved, and there are
/// channels enough to fill the vectors.
pub(super) fn suits(s: &ConvShape) -> bool {
    let positions = (TILE + s.kernel.0 - 1).pow(2);
    let grid = Grid::over(s.out_height, s.out_width);
    s.stride == 1
        && (s.kernel == (3, 3) || s.kernel == (5, 5))
        && s.in_channels.min(s.out_channels) >= GROUP / 2
        && 2 * grid.rows * grid.columns * positions <= s.out_area() * s.kernel.0 * s.kernel.1
}

/// `activation(conv(x, weight) + bias)`: `(batch, out_channels, out_height, out_width)`.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: ConvShape,
) -> Vec<f32> {
    let r2 = s.kernel.0 * s.kernel.1;
    let kernel = Kernel {
        data: weight,
        in_channels: s.in_channels,
        out_channels: s.out_channels,
        in_stride: r2,
        out_stride: s.in_channels * r2,
        turned: false,
    };
    let x = Planes { data: x, channels: s.in_channels, height: s.height, width: s.width };
    let origin = (-(s.padding.0 as isize), -(s.padding.1 as isize));
    let mut y = vec![0.0; s.batch * s.out_size()];
    let out = Output { data: &mut y, height: s.out_height, width: s.out_width };
    match s.kernel.0 {
        3 => convolve::<3, 6>(x, kernel, origin, out, Some((bias, activation))),
        _ => convolve::<5, 8>(x, kernel, origin, out, Some((bias, activation))),
    }
    y
}

/// The gradient of the input, `(batch, in_channels, height, width)`, from that of the output.
pub(super) fn backward_input(weight: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let r2 = s.kernel.0 * s.kernel.1;
    let kernel = Kernel {
        data: weight,
        in_channels: s.out_channels,
        out_channels: s.in_channels,
        in_stride: s.in_channels * r2,
        out_stride: r2,
        turned: true,
    };
    let dy = Planes { data: dy, channels: s.out_channels, height: s.out_height, width: s.out_width };
    let last = s.kernel.0 as isize - 1;
    let origin = (s.padding.0 as isize - last, s.padding.1 as isize - last);
    let mut dx = vec![0.0; s.batch * s.in_size()];
    let out = Output { data: &mut dx, height: s.height, width: s.width };
    match s.kernel.0 {
        3 => convolve::<3, 6>(dy, kernel, origin, out, None),
        _ => convolve::<5, 8>(dy, kernel, origin, out, None),
    }
    dx
}

/// The gradient of the weight, `(out_channels, in_channels, kernel height, kernel width)`.
pub(super) fn backward_weight(x: &[f32], dy: &[f32], s: ConvShape) -> Vec<f32> {
    let x = Planes { data: x, channels: s.in_channels, height: s.height, width: s.width };
    let dy = Planes { data: dy, channels: s.out_channels, height: s.out_height, width: s.out_width };
    let origin = (-(s.padding.0 as isize), -(s.padding.1 as isize));
    match s.kernel.0 {
        3 => weight_gradient::<3, 6>(x, dy, s.batch, origin),
        _ => weight_gradient::<5, 8>(x, dy, s.batch, origin),
    }
}

#[cfg(test)]
mod tests;
