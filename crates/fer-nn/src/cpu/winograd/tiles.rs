//! Images cut into tiles: from planes to transformed tiles of channel groups, and from there back to planes.

use std::marker::PhantomData;
use std::ops::Range;

use super::TILE;
use super::lanes::{GROUP, Interleave};
use super::transform::{Expand, Map};

/// A batch of images, `(batch, channels, height, width)`.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub data: &'a [f32],
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

/// The tiles of a batch: rows of tiles are counted through all images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Rows of tiles in an image.
    pub rows: usize,
    /// Tiles in a row.
    pub columns: usize,
}

impl Grid {
    pub(super) fn over(height: usize, width: usize) -> Self {
        Self { rows: height.div_ceil(TILE), columns: width.div_ceil(TILE) }
    }

    /// The images that a range of rows of tiles covers, with the range within each.
    pub(super) fn images(self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        (rows.start / self.rows..rows.end.div_ceil(self.rows)).map(move |image| {
            let first = image * self.rows;
            (image, rows.start.max(first) - first..rows.end.min(first + self.rows) - first)
        })
    }
}

/// Channels rounded up to whole groups.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(GROUP)
}

impl Planes<'_> {
    /// Copies rows and columns from `(top, left)` on, zeros where they lie outside, for the channels of a group:
    /// `(out.len() / width / GROUP, width, GROUP)`.
    fn gather(&self, image: usize, first: usize, top: isize, left: isize, width: usize, out: &mut [f32]) {
        let channels = GROUP.min(self.channels - first);
        let plane = self.height * self.width;
        let data = &self.data[(image * self.channels + first) * plane..][..channels * plane];
        // Columns of `out` that lie inside the image, and where they begin in it.
        let begin = (-left).clamp(0, width as isize) as usize;
        let end = (self.width as isize - left).clamp(begin as isize, width as isize) as usize;
        let source = (left + begin as isize) as usize;
        for (row, out) in out.chunks_exact_mut(width * GROUP).enumerate() {
            let y = top + row as isize;
            if y < 0 || y >= self.height as isize || channels < GROUP {
                out.fill(0.0);
            }
            if y < 0 || y >= self.height as isize || begin == end {
                continue;
            }
            out[..begin * GROUP].fill(0.0);
            out[end * GROUP..].fill(0.0);
            let rows = &data[y as usize * self.width + source..];
            let out = &mut out[begin * GROUP..end * GROUP];
            pulp::Arch::new().dispatch(Interleave { rows, stride: plane, channels, out });
        }
    }

    /// The transformed tiles of `rows`: `(N·N positions, tiles, padded channels)`, `position_stride` apart.
    ///
    /// The `L`×`L` values under the first tile of an image begin at `origin`; `work` holds
    /// [`expand_work`] values.
    pub(super) fn expand<T: Map<L, N>, const L: usize, const N: usize>(
        &self,
        grid: Grid,
        rows: Range<usize>,
        channels: Range<usize>,
        origin: (isize, isize),
        out: &mut [f32],
        position_stride: usize,
        tile_stride: usize,
        work: &mut [f32],
    ) {
        let width = TILE * (grid.columns - 1) + L;
        let (columns, strip) = work.split_at_mut(N * width * GROUP);
        let mut tiles = 0;
        for (image, rows) in grid.images(rows) {
            let height = TILE * (rows.len() - 1) + L;
            let strip = &mut strip[..height * width * GROUP];
            let top = (rows.start * TILE) as isize + origin.0;
            for first in channels.clone().step_by(GROUP) {
                self.gather(image, first, top, origin.1, width, strip);
                for row in 0..rows.len() {
                    pulp::Arch::new().dispatch(Expand::<T, L, N> {
                        map: PhantomData,
                        image: &strip[row * TILE * width * GROUP..],
                        width,
                        tiles: grid.columns,
                        columns,
                        out: &mut out[(tiles + row * grid.columns) * tile_stride + first - channels.start..],
                        position_stride,
                        tile_stride,
                    });
                }
            }
            tiles += rows.len() * grid.columns;
        }
    }
}

/// The working memory of [`Planes::expand`] for `rows` rows of tiles.
pub(super) fn expand_work<const L: usize, const N: usize>(grid: Grid, rows: usize) -> usize {
    let width = TILE * (grid.columns - 1) + L;
    (N + TILE * (rows - 1) + L) * width * GROUP
}
