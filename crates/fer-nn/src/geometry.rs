//! The sizes of what kernels compute.

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

/// What happens at the edges of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Zeros around the image so that the output has ⌈size / stride⌉ rows and columns; of an odd number of
    /// zeros, the one more goes to the bottom and to the right, as in TensorFlow.
    #[default]
    Same,
    /// No zeros: only windows that lie wholly inside the image.
    Valid,
    /// This many rows and columns of zeros.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the left.
        left: usize,
        /// Columns to the right.
        right: usize,
    },
}

impl Padding {
    /// As many zeros on each side: PyTorch's `padding=n`.
    pub const fn all(n: usize) -> Self {
        Self::Explicit { top: n, bottom: n, left: n, right: n }
    }

    /// The zeros before the rows and before the columns, and the output's rows and columns, of windows of this size.
    pub(crate) fn windows(
        self,
        size: [usize; 2],
        kernel: [usize; 2],
        stride: usize,
    ) -> Option<[[usize; 2]; 2]> {
        let along = |axis: usize| {
            let (size, kernel) = (size[axis], kernel[axis]);
            let valid = |before: usize, after: usize| {
                let padded = size.checked_add(before)?.checked_add(after)?;
                Some([before, padded.checked_sub(kernel)? / stride + 1])
            };
            match self {
                Self::Same => {
                    let out = size.div_ceil(stride);
                    let total = ((out.checked_sub(1)?) * stride + kernel).saturating_sub(size);
                    Some([total / 2, out])
                }
                Self::Valid => valid(0, 0),
                Self::Explicit { top, bottom, .. } if axis == 0 => valid(top, bottom),
                Self::Explicit { left, right, .. } => valid(left, right),
            }
        };
        let ([top, height], [left, width]) = (along(0)?, along(1)?);
        Some([[top, left], [height, width]])
    }
}

/// The geometry of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The channels are in so many parts, each with weights of its own.
    pub groups: usize,
}

impl ConvShape {
    /// Whether as many zeros are needed after each axis as before it.
    pub(crate) fn is_symmetric(&self) -> bool {
        let rows = (self.height, self.kernel.0, self.padding.0, self.out_height);
        let columns = (self.width, self.kernel.1, self.padding.1, self.out_width);
        [rows, columns].into_iter().all(|(size, kernel, padding, out)| {
            (size + 2 * padding).checked_sub(kernel).is_some_and(|rest| rest / self.stride + 1 == out)
        })
    }

    pub(crate) fn in_size(&self) -> usize {
        self.in_channels * self.height * self.width
    }

    pub(crate) fn out_area(&self) -> usize {
        self.out_height * self.out_width
    }

    pub(crate) fn out_size(&self) -> usize {
        self.out_channels * self.out_area()
    }

    pub(crate) fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels / self.groups * self.kernel.0 * self.kernel.1
    }

    pub(crate) fn out_dims(&self) -> [usize; 4] {
        [self.batch, self.out_channels, self.out_height, self.out_width]
    }
}

/// The sizes of a fully connected layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DenseShape {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
}

/// Planes of `height` × `width`, pooled by `size` × `size` windows that move by `stride`. Values outside the plane are
/// not part of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub height: usize,
    pub width: usize,
    pub size: usize,
    pub stride: usize,
    /// How far the first window begins above and to the left of the plane.
    pub padding: (usize, usize),
    pub out_height: usize,
    pub out_width: usize,
}

impl Windows {
    /// The windows of a plane.
    pub(crate) fn new(
        op: &str,
        [height, width]: [usize; 2],
        size: usize,
        stride: usize,
        padding: Padding,
    ) -> Result<Self> {
        let windows = match size.min(stride) {
            0 => None,
            _ => padding.windows([height, width], [size, size], stride),
        };
        let Some([[top, left], [out_height, out_width]]) = windows.filter(|[_, out]| !out.contains(&0))
        else {
            bail!("{op}: no {size}×{size} window {stride} apart fits {height}×{width} values")
        };
        let this = Self { height, width, size, stride, padding: (top, left), out_height, out_width };
        // Each window must hold a value.
        let reaches = |at: usize, before: usize, len: usize| at + size > before && at < before + len;
        let last = ((out_height - 1) * stride, (out_width - 1) * stride);
        if top >= size || left >= size || !reaches(last.0, top, height) || !reaches(last.1, left, width) {
            bail!("{op}: with this padding a {size}×{size} window lies outside the {height}×{width} values")
        }
        Ok(this)
    }

    /// 2×2 windows side by side, none beyond the edge.
    pub(crate) fn is_two_by_two(&self) -> bool {
        self.size == 2 && self.stride == 2 && self.padding == (0, 0) && self.fits()
    }

    /// Whether no window reaches beyond the plane.
    pub(crate) fn fits(&self) -> bool {
        self.padding == (0, 0)
            && (self.out_height - 1) * self.stride + self.size <= self.height
            && (self.out_width - 1) * self.stride + self.size <= self.width
    }

    /// The rows and the columns of the plane that a window covers.
    pub(crate) fn covered(&self, row: usize, column: usize) -> [std::ops::Range<usize>; 2] {
        let along = |at: usize, before: usize, len: usize| {
            let start = at * self.stride;
            start.saturating_sub(before)..(start + self.size).saturating_sub(before).min(len)
        };
        [along(row, self.padding.0, self.height), along(column, self.padding.1, self.width)]
    }
}
