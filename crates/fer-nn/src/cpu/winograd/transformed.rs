//! Weights transformed for a minimal filtering, and which filtering is the fastest.

use super::kernel::Kernel;
use crate::geometry::ConvShape;

/// Which of the two convolutions with a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cpu) enum Direction {
    Forward,
    /// From the output's gradient to the input's: the weight turned by half, its channels swapped.
    InputGradient,
}

/// The minimal filterings: m×m outputs and r×r kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filtering {
    F2x3,
    F4x3,
    F6x3,
    F4x5,
}

/// Transforming a weight and reading it takes as long as about this many tiles.
pub(super) const TILES_OF_WEIGHT: usize = 100;

/// The same between tiles of 2×2 and of 4×4, whose weights are small; near enough for a weight's gradient too.
const SMALL_TILES_OF_WEIGHT: usize = 25;

/// Reading a weight that was transformed before takes as long as about this many tiles.
const TILES_OF_CONSTANT: usize = 16;

/// Summing up a weight's gradient and transforming it back takes as long as about this many tiles.
pub(super) const TILES_OF_GRADIENT: usize = 30;

/// How much there is to multiply for an output of some size in tiles of a side, where what is done once for all tiles takes as
/// long as `weight` tiles.
fn work(s: &ConvShape, [height, width]: [usize; 2], side: usize, weight: usize) -> usize {
    let tiles = s.batch * height.div_ceil(side) * width.div_ceil(side);
    (side + s.kernel.0 - 1).pow(2) * (tiles + weight)
}

impl Filtering {
    /// The one for an output of this height and width.
    pub fn of(s: &ConvShape, out: [usize; 2], weight: usize) -> Self {
        let work = |side: usize, weight: usize| work(s, out, side, weight);
        if s.kernel == (5, 5) {
            Self::F4x5
        } else if work(6, weight) < work(4, weight) {
            Self::F6x3
        } else if work(2, SMALL_TILES_OF_WEIGHT) < work(4, SMALL_TILES_OF_WEIGHT) {
            Self::F2x3
        } else {
            Self::F4x3
        }
    }

    /// The one where the weight is transformed already.
    fn of_constant(s: &ConvShape, out: [usize; 2]) -> Self {
        if s.kernel == (5, 5) {
            return Self::F4x5;
        }
        let [two, four, six] = [2, 4, 6].map(|side| work(s, out, side, TILES_OF_CONSTANT));
        if six <= four.min(two) {
            Self::F6x3
        } else if four <= two {
            Self::F4x3
        } else {
            Self::F2x3
        }
    }
}

/// A weight transformed for a direction, in memory that is kept.
#[derive(Debug, Default)]
pub(crate) struct Transformed {
    pub(super) kernels: Vec<(Filtering, Vec<f32>)>,
    /// The one that is used.
    pub(super) current: usize,
}

impl Transformed {
    /// Transforms the weight `(out_channels, in_channels, r, r)` for the sizes of `s`. A `constant` one is the same at every call:
    /// it is transformed once for a filtering.
    pub fn set(&mut self, weight: &[f32], direction: Direction, s: &ConvShape, constant: bool) {
        let out = match direction {
            Direction::Forward => [s.out_height, s.out_width],
            Direction::InputGradient => [s.height, s.width],
        };
        if !constant {
            return self.transform(weight, direction, s, Filtering::of(s, out, TILES_OF_WEIGHT), 0);
        }
        let filtering = Filtering::of_constant(s, out);
        match self.kernels.iter().position(|(of, _)| *of == filtering) {
            Some(at) => self.current = at,
            None => self.transform(weight, direction, s, filtering, self.kernels.len()),
        }
    }

    /// What was set last.
    pub(super) fn current(&self) -> Option<(Filtering, &[f32])> {
        self.kernels.get(self.current).map(|(filtering, values)| (*filtering, values.as_slice()))
    }

    /// Transforms the weight into the kernel of a number, which is at most one that is not there yet.
    fn transform(
        &mut self,
        weight: &[f32],
        direction: Direction,
        s: &ConvShape,
        filtering: Filtering,
        at: usize,
    ) {
        self.kernels.resize_with(self.kernels.len().max(at + 1), || (filtering, Vec::new()));
        self.kernels[at].0 = filtering;
        self.current = at;
        let out = &mut self.kernels[at].1;
        let r2 = s.kernel.0 * s.kernel.1;
        let (of_in, of_out) = (r2, s.in_channels * r2);
        let (in_channels, out_channels) = (s.in_channels, s.out_channels);
        let kernel = match direction {
            Direction::Forward => Kernel {
                weight,
                in_channels,
                out_channels,
                in_stride: of_in,
                out_stride: of_out,
                turned: false,
            },
            Direction::InputGradient => Kernel {
                weight,
                in_channels: out_channels,
                out_channels: in_channels,
                in_stride: of_out,
                out_stride: of_in,
                turned: true,
            },
        };
        match filtering {
            Filtering::F2x3 => kernel.transform::<3, 4>(out),
            Filtering::F4x3 => kernel.transform::<3, 6>(out),
            Filtering::F6x3 => kernel.transform::<3, 8>(out),
            Filtering::F4x5 => kernel.transform::<5, 8>(out),
        }
    }
}
