//! Images cut into tiles: from a batch to transformed tiles, and from there back to images.
//!
//! Along the columns of an image first, for all rows of the transformed tiles; along the rows last, for the N
//! positions of one row of the transformed tiles at a time, so that what the products read and write is in the
//! nearest caches. Back in the opposite order.

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

    /// Values in a row of tiles that have so many a side.
    pub(super) fn width(self, side: usize) -> usize {
        self.step * (self.columns - 1) + side
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
#[derive(Clone)]
pub(super) struct Region {
    pub grid: Grid,
    /// Rows of tiles.
    pub rows: Range<usize>,
    /// Row and column of an image at which the values under its first tile begin.
    pub origin: (isize, isize),
}

impl Region {
    pub(super) fn tiles(&self) -> usize {
        self.rows.len() * self.grid.columns
    }
}

impl Images<'_> {
    /// `T` along the columns under a region's rows of tiles, for one group of channels: `(N, stride, 16)`, each the
    /// [`Grid::width`] values of one row of tiles after the other.
    pub(super) fn expand_columns<T: Map<L, N>, const L: usize, const N: usize>(
        &self,
        region: &Region,
        group: usize,
        out: &mut [Lanes],
        stride: usize,
    ) {
        let Region { grid, ref rows, origin } = *region;
        let (area, width) = (self.height * self.width, grid.width(L));
        let data = self.data.as_chunks::<GROUP>().0;
        let mut done = 0;
        for (image, rows) in grid.images(rows.clone()) {
            let image = &data[(image * groups(self.channels) + group) * area..];
            for row in rows {
                let top = (row * grid.step) as isize + origin.0;
                let row = |y: isize| {
                    let inside = (0..self.height as isize).contains(&y);
                    if inside { &image[y as usize * self.width..][..self.width] } else { &[] }
                };
                let ahead = (top + L as isize).clamp(0, self.height as isize) as usize * self.width;
                pulp::Arch::new().dispatch(ExpandColumns::<T, L, N> {
                    map: PhantomData,
                    source: Source {
                        rows: std::array::from_fn(|i| row(top + i as isize)),
                        left: origin.1,
                        norm: self.norm.map(|norm| &norm[group]),
                    },
                    ahead: &image[ahead..image.len().min(ahead + grid.step * self.width)],
                    out: &mut out[done..],
                    stride,
                    width,
                });
                done += width;
            }
        }
    }
}

/// The rows of an image under a row of tiles.
#[derive(Clone, Copy)]
struct Source<'a, const L: usize> {
    /// Empty outside the image.
    rows: [&'a [Lanes]; L],
    /// The column of the image at which the first tile begins.
    left: isize,
    norm: Option<&'a Norm>,
}

impl<const L: usize> Source<'_, L> {
    /// `T` along a column, zeros where it lies outside the image, to `out[i·stride + column]`.
    #[inline(always)]
    fn transform<S: Simd, T: Map<L, N>, const N: usize>(
        &self,
        simd: S,
        column: usize,
        out: &mut [Lanes],
        stride: usize,
    ) {
        let out = &mut out[column..];
        assert!((N - 1) * stride < out.len());
        let column = (self.left + column as isize) as usize;
        let inside = self.rows.iter().all(|row| column < row.len());
        for lane in (0..GROUP).step_by(S::F32_LANES) {
            let norm = self.norm.map(|norm| {
                let of = |values: &Lanes| Vector::load(simd, &values[lane..]);
                (of(&norm.center), of(&norm.scale), of(&norm.shift))
            });
            let load = |lanes: &Lanes| {
                let x = Vector::load(simd, &lanes[lane..]);
                match norm {
                    Some((center, scale, shift)) => (x - center).times_plus(scale, shift),
                    None => x,
                }
            };
            let mut x = [Vector::splat(simd, 0.0); L];
            if inside {
                for (x, row) in x.iter_mut().zip(&self.rows) {
                    // SAFETY: `inside`.
                    *x = load(unsafe { row.get_unchecked(column) });
                }
            } else {
                for (x, row) in x.iter_mut().zip(&self.rows) {
                    if let Some(lanes) = row.get(column) {
                        *x = load(lanes);
                    }
                }
            }
            for (i, y) in T::apply(x).into_iter().enumerate() {
                // SAFETY: the assertion above.
                y.store(&mut unsafe { out.get_unchecked_mut(i * stride) }[lane..]);
            }
        }
    }
}

/// Applies `T` along the columns under one row of tiles, for one group of channels.
struct ExpandColumns<'a, T, const L: usize, const N: usize> {
    map: PhantomData<T>,
    source: Source<'a, L>,
    /// What is going to be read next, as a rule.
    ahead: &'a [Lanes],
    out: &'a mut [Lanes],
    stride: usize,
    width: usize,
}

impl<T: Map<L, N>, const L: usize, const N: usize> WithSimd for ExpandColumns<'_, T, L, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut ahead = self.ahead.chunks(self.ahead.len().div_ceil(self.width).max(1));
        for column in 0..self.width {
            ahead.next().into_iter().flatten().for_each(prefetch);
            self.source.transform::<S, T, N>(simd, column, self.out, self.stride);
        }
    }
}

/// Asks for lanes before they are needed: rows are too short for the processor to foresee them.
#[inline(always)]
fn prefetch(lanes: &Lanes) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(lanes.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = lanes;
}

/// Applies `T` along the rows of transformed columns, for one group of channels and one row of positions.
pub(super) struct ExpandRows<'a, T, const L: usize, const N: usize> {
    pub map: PhantomData<T>,
    pub region: &'a Region,
    /// The [`Grid::width`] values of one row of tiles after the other.
    pub columns: &'a [Lanes],
    /// `(N, stride, 16)`: a line a tile.
    pub out: &'a mut [Lanes],
    pub stride: usize,
}

impl<T: Map<L, N>, const L: usize, const N: usize> WithSimd for ExpandRows<'_, T, L, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { region, columns, out, stride, .. } = self;
        let grid = region.grid;
        assert!((N - 1) * stride + region.tiles() <= out.len());
        let rows = columns.chunks_exact(grid.width(L)).take(region.rows.len());
        for (row, columns) in rows.enumerate() {
            for column in 0..grid.columns {
                let tile = row * grid.columns + column;
                let columns = &columns[column * grid.step..][..L];
                for lane in (0..GROUP).step_by(S::F32_LANES) {
                    let mut x = [Vector::splat(simd, 0.0); L];
                    for (x, lanes) in x.iter_mut().zip(columns) {
                        *x = Vector::load(simd, &lanes[lane..]);
                    }
                    for (j, y) in T::apply(x).into_iter().enumerate() {
                        // SAFETY: the assertion above, for the last position and tile.
                        y.store(&mut unsafe { out.get_unchecked_mut(j * stride + tile) }[lane..]);
                    }
                }
            }
        }
    }
}

/// Applies `T` along the rows of products, for one group of channels and one row of positions.
pub(super) struct ContractRows<'a, T, const N: usize, const M: usize> {
    pub map: PhantomData<T>,
    /// `(N, stride, 16)`: a line a tile.
    pub products: &'a [Lanes],
    pub stride: usize,
    /// `(tiles, M, 16)`
    pub out: &'a mut [Lanes],
}

impl<T: Map<N, M>, const N: usize, const M: usize> WithSimd for ContractRows<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, stride, out, .. } = self;
        let out = out.as_chunks_mut::<M>().0;
        assert!((N - 1) * stride + out.len() <= products.len());
        for (tile, out) in out.iter_mut().enumerate() {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                let mut x = [Vector::splat(simd, 0.0); N];
                for (j, x) in x.iter_mut().enumerate() {
                    // SAFETY: the assertion above, for the last position and tile.
                    *x = Vector::load(simd, &unsafe { products.get_unchecked(j * stride + tile) }[lane..]);
                }
                for (out, y) in out.iter_mut().zip(T::apply(x)) {
                    y.store(&mut out[lane..]);
                }
            }
        }
    }
}

/// Applies `T` along the columns of one row of tiles, for one group of channels.
pub(super) struct ContractColumns<'a, T, const N: usize, const M: usize> {
    pub map: PhantomData<T>,
    /// `(N, stride, 16)`, from the first column on.
    pub rows: &'a [Lanes],
    pub stride: usize,
    /// `M` rows of `width` values, or fewer: what lies beyond is dropped.
    pub out: &'a mut [Lanes],
    pub width: usize,
}

impl<T: Map<N, M>, const N: usize, const M: usize> WithSimd for ContractColumns<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, stride, out, width, .. } = self;
        let height = out.len() / width;
        assert!((N - 1) * stride + width <= rows.len() && height <= M);
        for column in 0..width {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                let mut x = [Vector::splat(simd, 0.0); N];
                for (i, x) in x.iter_mut().enumerate() {
                    // SAFETY: the assertion above, for the last row and column.
                    *x = Vector::load(simd, &unsafe { rows.get_unchecked(i * stride + column) }[lane..]);
                }
                for (i, y) in T::apply(x).into_iter().enumerate() {
                    if i < height {
                        // SAFETY: `i < height`, of `out`'s `height` rows of `width`.
                        y.store(&mut unsafe { out.get_unchecked_mut(i * width + column) }[lane..]);
                    }
                }
            }
        }
    }
}
