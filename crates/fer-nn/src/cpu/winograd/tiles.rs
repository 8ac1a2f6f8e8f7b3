//! Images cut into tiles: from planes to transformed tiles of channel groups, and from there back to planes.

use std::marker::PhantomData;
use std::ops::Range;

use super::TILE;
use super::lanes::{GROUP, Interleave};
use super::transform::{Expand, Map, Positions};

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

/// What is transformed at a time.
pub(super) struct Region {
    pub grid: Grid,
    /// Rows of tiles.
    pub rows: Range<usize>,
    /// Row and column of an image at which the values under its first tile begin.
    pub origin: (isize, isize),
}

/// Channels rounded up to whole groups.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(GROUP)
}

impl Planes<'_> {
    /// Copies rows and columns from `(top, left)` on, zeros where they lie outside, for the group of channels from
    /// `first` on: `(out.len() / width / GROUP, width, GROUP)`.
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
            let inside = (0..self.height as isize).contains(&y) && begin < end;
            if !inside || channels < GROUP {
                out.fill(0.0);
            }
            if !inside {
                continue;
            }
            out[..begin * GROUP].fill(0.0);
            out[end * GROUP..].fill(0.0);
            let rows = &data[y as usize * self.width + source..];
            let out = &mut out[begin * GROUP..end * GROUP];
            pulp::Arch::new().dispatch(Interleave { rows, stride: plane, channels, out });
        }
    }

    /// The transformed tiles of a region, for some of the channels; `work` holds [`expand_work`] values.
    pub(super) fn expand<T: Map<L, N>, const L: usize, const N: usize>(
        &self,
        region: Region,
        channels: Range<usize>,
        out: Positions,
        work: &mut [f32],
    ) {
        let Region { grid, rows, origin } = region;
        let Positions { values, position_stride, tile_stride } = out;
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
                    let at = (tiles + row * grid.columns) * tile_stride + first - channels.start;
                    pulp::Arch::new().dispatch(Expand::<T, L, N> {
                        map: PhantomData,
                        image: &strip[row * TILE * width * GROUP..],
                        width,
                        tiles: grid.columns,
                        columns,
                        out: Positions { values: &mut values[at..], position_stride, tile_stride },
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
