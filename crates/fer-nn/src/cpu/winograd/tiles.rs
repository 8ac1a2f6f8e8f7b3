//! Images cut into tiles: from planes to transformed tiles of channel groups, and from there back to planes.

use std::marker::PhantomData;
use std::ops::Range;

use super::TILE;
use super::transform::{Expand, GROUP, Map};
use crate::cpu::vectorized;

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
    fn gather(&self, image: usize, group: usize, top: isize, left: isize, width: usize, out: &mut [f32]) {
        let first = group * GROUP;
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
            interleave(rows, plane, channels, &mut out[begin * GROUP..end * GROUP]);
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
        origin: (isize, isize),
        out: &mut [f32],
        position_stride: usize,
        work: &mut [f32],
    ) {
        let width = TILE * (grid.columns - 1) + L;
        let tile_stride = padded(self.channels);
        let (columns, strip) = work.split_at_mut(N * width * GROUP);
        let mut tiles = 0;
        for (image, rows) in grid.images(rows) {
            let height = TILE * (rows.len() - 1) + L;
            let strip = &mut strip[..height * width * GROUP];
            let top = (rows.start * TILE) as isize + origin.0;
            for group in 0..self.channels.div_ceil(GROUP) {
                self.gather(image, group, top, origin.1, width, strip);
                for row in 0..rows.len() {
                    pulp::Arch::new().dispatch(Expand::<T, L, N> {
                        map: PhantomData,
                        image: &strip[row * TILE * width * GROUP..],
                        width,
                        tiles: grid.columns,
                        columns,
                        out: &mut out[(tiles + row * grid.columns) * tile_stride + group * GROUP..],
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

/// `out[column·GROUP + channel] = rows[channel·stride + column]`
#[inline(always)]
fn interleave(rows: &[f32], stride: usize, channels: usize, out: &mut [f32]) {
    vectorized(|| {
        let width = out.len() / GROUP;
        if channels == GROUP {
            let (blocks, _) = out.as_chunks_mut::<{ 4 * GROUP }>();
            for (block, out) in blocks.iter_mut().enumerate() {
                for channel in (0..GROUP).step_by(4) {
                    let at = |i: usize| (channel + i) * stride + block * 4;
                    let rows: [[f32; 4]; 4] = std::array::from_fn(|i| {
                        let row = &rows[at(i)..at(i) + 4];
                        [row[0], row[1], row[2], row[3]]
                    });
                    for column in 0..4 {
                        for (i, row) in rows.iter().enumerate() {
                            out[column * GROUP + channel + i] = row[column];
                        }
                    }
                }
            }
        }
        let first = if channels == GROUP { width / 4 * 4 } else { 0 };
        for channel in 0..channels {
            for column in first..width {
                out[column * GROUP + channel] = rows[channel * stride + column];
            }
        }
    });
}
