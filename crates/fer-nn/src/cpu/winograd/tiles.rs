//! Images cut into tiles: from a batch to transformed tiles, and from there back to images.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::transform::Map;
use super::vector::Vector;
use crate::cpu::groups::{GROUP, Images, Lanes, Norm, groups};

/// The tiles of a batch: rows of tiles are counted through all images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Values along a tile's side, or from one tile to the next.
    pub step: usize,
    /// Rows of tiles in an image.
    pub rows: usize,
    /// Tiles in a row.
    pub columns: usize,
}

impl Grid {
    pub(super) fn over(height: usize, width: usize, step: usize) -> Self {
        Self { step, rows: height.div_ceil(step), columns: width.div_ceil(step) }
    }

    /// The images that a range of rows of tiles covers, with the range within each.
    pub(super) fn images(self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        (rows.start / self.rows..rows.end.div_ceil(self.rows)).map(move |image| {
            let first = image * self.rows;
            (image, rows.start.max(first) - first..rows.end.min(first + self.rows) - first)
        })
    }

    /// The working memory, in lanes, to transform a row of tiles of `L`×`L` values to `N`×`N`.
    pub(super) fn columns<const L: usize, const N: usize>(self) -> usize {
        N * (self.step * (self.columns - 1) + L)
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

impl Images<'_> {
    /// The transformed tiles of a region for one group of channels, `(N·N, position_stride, 16)`: a line a tile.
    /// `columns` holds [`Grid::columns`] lanes.
    pub(super) fn expand<T: Map<L, N>, const L: usize, const N: usize>(
        &self,
        region: &Region,
        group: usize,
        out: &mut [Lanes],
        position_stride: usize,
        columns: &mut [Lanes],
    ) {
        let Region { grid, ref rows, origin } = *region;
        let area = self.height * self.width;
        let data = self.data.as_chunks::<GROUP>().0;
        let mut first = 0;
        for (image, rows) in grid.images(rows.clone()) {
            let image = &data[(image * groups(self.channels) + group) * area..][..area];
            for row in rows {
                let top = (row * grid.step) as isize + origin.0;
                let inside = 0..self.height as isize;
                pulp::Arch::new().dispatch(Expand::<T, L, N> {
                    map: PhantomData,
                    rows: std::array::from_fn(|i| {
                        let y = top + i as isize;
                        inside.contains(&y).then(|| &image[y as usize * self.width..][..self.width])
                    }),
                    left: origin.1,
                    norm: self.norm.map(|norm| &norm[group]),
                    grid,
                    columns,
                    out: &mut out[first..],
                    position_stride,
                });
                first += grid.columns;
            }
        }
    }
}

/// Applies `T` along the columns, then along the rows of a horizontal row of tiles, for one group of channels.
struct Expand<'a, T, const L: usize, const N: usize> {
    map: PhantomData<T>,
    /// The rows under the tiles, those inside the image.
    rows: [Option<&'a [Lanes]>; L],
    /// The column of the image at which the first tile begins.
    left: isize,
    norm: Option<&'a Norm>,
    grid: Grid,
    columns: &'a mut [Lanes],
    out: &'a mut [Lanes],
    position_stride: usize,
}

impl<T: Map<L, N>, const L: usize, const N: usize> WithSimd for Expand<'_, T, L, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { grid, position_stride, .. } = self;
        let columns = self.columns.as_chunks_mut::<N>().0;
        let columns = &mut columns[..grid.step * (grid.columns - 1) + L];
        let width = self.rows.iter().flatten().next().map_or(0, |row| row.len()) as isize;
        // Columns of the strip that lie inside the image.
        let begin = (-self.left).clamp(0, columns.len() as isize);
        let end = (width - self.left).clamp(begin, columns.len() as isize);
        columns[..begin as usize].fill([[0.0; GROUP]; N]);
        columns[end as usize..].fill([[0.0; GROUP]; N]);
        for lane in (0..GROUP).step_by(S::F32_LANES) {
            let norm = self.norm.map(|norm| {
                let of = |values: &Lanes| Vector::load(simd, &values[lane..]);
                (of(&norm.center), of(&norm.scale), of(&norm.shift))
            });
            for (i, out) in columns[begin as usize..end as usize].iter_mut().enumerate() {
                let column = (self.left + begin) as usize + i;
                let mut x = [Vector::splat(simd, 0.0); L];
                for (x, row) in x.iter_mut().zip(&self.rows) {
                    if let Some(row) = row {
                        *x = Vector::load(simd, &row[column][lane..]);
                        if let Some((center, scale, shift)) = norm {
                            *x = (*x - center).times_plus(scale, shift);
                        }
                    }
                }
                for (out, y) in out.iter_mut().zip(T::apply(x)) {
                    y.store(&mut out[lane..]);
                }
            }
        }
        for tile in 0..grid.columns {
            let columns = &columns[tile * grid.step..][..L];
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                for i in 0..N {
                    let mut x = [Vector::splat(simd, 0.0); L];
                    for (x, column) in x.iter_mut().zip(columns) {
                        *x = Vector::load(simd, &column[i][lane..]);
                    }
                    for (j, y) in T::apply(x).into_iter().enumerate() {
                        y.store(&mut self.out[(i * N + j) * position_stride + tile][lane..]);
                    }
                }
            }
        }
    }
}

/// Applies `T` along the columns, then along the rows of `N`×`N` positions, to `M`×`M` values for each tile of a
/// horizontal row, for one group of channels.
pub(super) struct Contract<'a, T, const N: usize, const M: usize> {
    pub map: PhantomData<T>,
    /// `(N·N, position_stride, 16)`, from the first tile on.
    pub products: &'a [Lanes],
    pub position_stride: usize,
    /// Rows of `width` values, `M` or fewer: what lies beyond is dropped.
    pub out: &'a mut [Lanes],
    pub width: usize,
}

impl<T: Map<N, M>, const N: usize, const M: usize> WithSimd for Contract<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, position_stride, out, width, .. } = self;
        for tile in 0..width.div_ceil(M) {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                let mut columns = [[Vector::splat(simd, 0.0); N]; M];
                for column in 0..N {
                    let mut x = [Vector::splat(simd, 0.0); N];
                    for (i, x) in x.iter_mut().enumerate() {
                        let product = &products[(i * N + column) * position_stride + tile];
                        *x = Vector::load(simd, &product[lane..]);
                    }
                    for (row, y) in columns.iter_mut().zip(T::apply(x)) {
                        row[column] = y;
                    }
                }
                for (x, row) in columns.into_iter().zip(out.chunks_exact_mut(width)) {
                    for (out, y) in row[tile * M..].iter_mut().zip(T::apply(x)) {
                        y.store(&mut out[lane..]);
                    }
                }
            }
        }
    }
}
