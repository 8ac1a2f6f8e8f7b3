//! Convolution with 3×3 and 5×5 kernels, stride 1, in a quarter and less of the multiplications.
//!
//! Outputs are computed in tiles of m×m by minimal filtering (Winograd 1980; Lavin and Gray 2016; the points of
//! the Cook–Toom algorithm are in [`transform`]). With `d` the n×n inputs under a tile, n = m + r − 1, and `g` the
//! r×r kernel,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! where ⊙ multiplies position by position; summed over input channels, that is one matrix product for each of
//! the n² positions: F(2×2, 3×3) needs 16 multiplications where 36 are plain, F(4×4, 3×3) 36 instead of 144,
//! F(6×6, 3×3) 64 instead of 324, F(4×4, 5×5) 64 instead of 400. The input's gradient is the convolution of the
//! output's with the kernel turned by half; the weight's is itself a minimal filtering with tiles of the output's
//! gradient as kernels ([`mod@weight_gradient`]).
//!
//! Images lie in groups of channels, and so do their tiles. They are worked on in blocks of rows of tiles: along
//! the columns all at once, then one row of the n×n positions after the other along the rows, through the products
//! and back, so that little lies between the transforms and all of it in the nearest caches.
//!
//! Relative error, ‖got − exact‖ / ‖exact‖, against a convolution in f64 of near-normal values:
//!
//! | kernel | channels | batch | image | tiles | output | input's gradient | weight's gradient |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 5×5 | 64 → 64 | 2 | 48×48 | 4×4 | 3.1e-6 | 3.1e-6 | 4.0e-6 |
//! | 5×5 | 16 → 16 | 32 | 48×48 | 4×4 | 2.0e-6 | 2.0e-6 | 4.5e-6 |
//! | 3×3 | 64 → 128 | 1 | 24×24 | 4×4 | 1.1e-6 | 1.5e-6 | 0.9e-6 |
//! | 3×3 | 128 → 128 | 12 | 24×24 | 6×6 | 4.5e-6 | 4.5e-6 | 3.5e-6 |
//! | 3×3 | 256 → 256 | 2 | 12×12 | 4×4 | 1.6e-6 | 1.6e-6 | 0.7e-6 |
//!
//! Larger tiles save more and cost accuracy: F(6×6, 5×5) has an error of 4e-5.

mod convolve;
mod kernel;
mod product;
mod tiles;
mod transform;
mod transformed;
mod vector;
mod weight_gradient;

use self::convolve::Output;
pub(super) use self::transformed::Direction;
pub(crate) use self::transformed::Transformed;
use self::transformed::{Filtering, TILES_OF_GRADIENT};
use super::groups::{GROUP, Images, Strip};
use crate::geometry::ConvShape;

/// Whether this is the method for a convolution: at least half of the multiplications are saved, and there are
/// channels enough to fill the vectors.
pub(super) fn suits(s: &ConvShape) -> bool {
    let positions = (4 + s.kernel.0 - 1).pow(2);
    s.stride == 1
        && s.groups == 1
        && (s.kernel == (3, 3) || s.kernel == (5, 5))
        && s.in_channels.min(s.out_channels) >= GROUP / 2
        && 2 * s.out_height.div_ceil(4) * s.out_width.div_ceil(4) * positions
            <= s.out_area() * s.kernel.0 * s.kernel.1
}

/// The convolution of `x` with a transformed weight, or the input's gradient from the output's.
///
/// `out` is `(batch, groups, height/pool, width/pool, 16)`, pool 1 or 2. For every strip of whole rows of a group of
/// an image, `finish` gets the convolution `(rows, width, 16)`, to change as it likes, and the strip's part of
/// `out`, to fill. Strips begin at even rows and hold an even number of them, but for an image's last. What `finish`
/// returns comes back in an order that depends on `s` alone.
pub(super) fn convolve<T: Send>(
    x: Images,
    weight: &Transformed,
    direction: Direction,
    s: &ConvShape,
    out: &mut [f32],
    pool: usize,
    finish: impl Fn(Strip, &mut [f32], &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let (top, left) = (s.padding.0 as isize, s.padding.1 as isize);
    let last = s.kernel.0 as isize - 1;
    let ((channels, height, width), origin) = match direction {
        Direction::Forward => ((s.out_channels, s.out_height, s.out_width), (-top, -left)),
        Direction::InputGradient => ((s.in_channels, s.height, s.width), (top - last, left - last)),
    };
    let data = out;
    let out = Output { data, batch: s.batch, channels, height, width, pool };
    let Some((filtering, kernel)) = weight.current() else { return Vec::new() };
    match filtering {
        Filtering::F2x3 => convolve::convolve::<2, 4, T>(x, kernel, origin, out, finish),
        Filtering::F4x3 => convolve::convolve::<4, 6, T>(x, kernel, origin, out, finish),
        Filtering::F6x3 => convolve::convolve::<6, 8, T>(x, kernel, origin, out, finish),
        Filtering::F4x5 => convolve::convolve::<4, 8, T>(x, kernel, origin, out, finish),
    }
}

/// The gradient of the weight, `(out_channels, in_channels, r, r)`, into `dw`.
pub(super) fn weight_gradient(x: Images, dy: Images, s: &ConvShape, dw: &mut [f32]) {
    let origin = (-(s.padding.0 as isize), -(s.padding.1 as isize));
    match Filtering::of(s, [s.out_height, s.out_width], TILES_OF_GRADIENT) {
        Filtering::F2x3 => weight_gradient::weight_gradient::<3, 2, 4>(x, dy, s.batch, origin, dw),
        Filtering::F4x3 => weight_gradient::weight_gradient::<3, 4, 6>(x, dy, s.batch, origin, dw),
        Filtering::F6x3 => weight_gradient::weight_gradient::<3, 6, 8>(x, dy, s.batch, origin, dw),
        Filtering::F4x5 => weight_gradient::weight_gradient::<5, 4, 8>(x, dy, s.batch, origin, dw),
    }
}

/// Multiplications for one of a direct convolution, in the convolutions and in the weight's gradient.
#[cfg(test)]
pub(super) fn shares(s: &ConvShape) -> [f64; 2] {
    [transformed::TILES_OF_WEIGHT, TILES_OF_GRADIENT].map(|weight| {
        let (tile, kernel) = match Filtering::of(s, [s.out_height, s.out_width], weight) {
            Filtering::F2x3 => (2_usize, 3),
            Filtering::F4x3 => (4, 3),
            Filtering::F6x3 => (6, 3),
            Filtering::F4x5 => (4, 5),
        };
        let tiles = s.out_height.div_ceil(tile) * s.out_width.div_ceil(tile);
        (tiles * (tile + kernel - 1).pow(2)) as f64 / (s.out_area() * kernel * kernel) as f64
    })
}

#[cfg(test)]
mod tests;
