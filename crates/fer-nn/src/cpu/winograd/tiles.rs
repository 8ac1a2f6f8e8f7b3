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
    /// The transformed tiles of a region for one group of channels, `(N·N, stride, 16)`: a line a tile.
    pub(super) fn expand<T: Map<L, N>, const STEP: usize, const L: usize, const N: usize>(
        &self,
        region: &Region,
        group: usize,
        out: &mut [Lanes],
        stride: usize,
    ) {
        let Region { grid, ref rows, origin } = *region;
        let area = self.height * self.width;
        let data = self.data.as_chunks::<GROUP>().0;
        let mut columns = [[[[0.0; GROUP]; N]; STEP]; 2];
        let mut first = 0;
        for (image, rows) in grid.images(rows.clone()) {
            let image = &data[(image * groups(self.channels) + group) * area..];
            for row in rows {
                let top = (row * STEP) as isize + origin.0;
                let row = |y: isize| {
                    let inside = (0..self.height as isize).contains(&y);
                    if inside { &image[y as usize * self.width..][..self.width] } else { &[] }
                };
                let ahead = (top + L as isize).clamp(0, self.height as isize) as usize * self.width;
                let ahead = ahead..image.len().min(ahead + STEP * self.width);
                pulp::Arch::new().dispatch(Expand::<T, STEP, L, N> {
                    map: PhantomData,
                    source: Source {
                        rows: std::array::from_fn(|i| row(top + i as isize)),
                        left: origin.1,
                        norm: self.norm.map(|norm| &norm[group]),
                    },
                    ahead: &image[ahead],
                    columns: &mut columns,
                    tiles: grid.columns,
                    out: &mut out[first..],
                    stride,
                });
                first += grid.columns;
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
    /// `T` along a column, zeros where it lies outside the image.
    #[inline(always)]
    fn transform<S: Simd, T: Map<L, N>, const N: usize>(&self, simd: S, column: usize, out: &mut [Lanes; N]) {
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
            for (out, y) in out.iter_mut().zip(T::apply(x)) {
                y.store(&mut out[lane..]);
            }
        }
    }
}

/// Applies `T` along the columns, then along the rows of a horizontal row of tiles, for one group of channels.
struct Expand<'a, T, const STEP: usize, const L: usize, const N: usize> {
    map: PhantomData<T>,
    source: Source<'a, L>,
    /// What is going to be read next, as a rule.
    ahead: &'a [Lanes],
    /// Transformed columns: those from the first of a tile on, and those from the first of the next tile on.
    columns: &'a mut [[[Lanes; N]; STEP]; 2],
    tiles: usize,
    out: &'a mut [Lanes],
    stride: usize,
}

impl<T: Map<L, N>, const STEP: usize, const L: usize, const N: usize> WithSimd for Expand<'_, T, STEP, L, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { source, tiles, out, stride, .. } = self;
        assert!((N * N - 1) * stride + tiles <= out.len());
        let [mut here, mut next] = self.columns.each_mut();
        let mut ahead = self.ahead.chunks(self.ahead.len().div_ceil(tiles).max(1));
        for tile in 0..tiles {
            ahead.next().into_iter().flatten().for_each(prefetch);
            // The columns that no earlier tile has transformed.
            for (i, out) in here.iter_mut().enumerate().skip(if tile == 0 { 0 } else { L - STEP }) {
                source.transform::<S, T, N>(simd, tile * STEP + i, out);
            }
            for (i, out) in next.iter_mut().enumerate().take(L - STEP) {
                source.transform::<S, T, N>(simd, (tile + 1) * STEP + i, out);
            }
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                for i in 0..N {
                    let mut x = [Vector::splat(simd, 0.0); L];
                    for (x, column) in x.iter_mut().zip(here.iter().chain(&*next)) {
                        *x = Vector::load(simd, &column[i][lane..]);
                    }
                    for (j, y) in T::apply(x).into_iter().enumerate() {
                        // SAFETY: the assertion above, for the last position and tile.
                        let out = unsafe { out.get_unchecked_mut((i * N + j) * stride + tile) };
                        y.store(&mut out[lane..]);
                    }
                }
            }
            (here, next) = (next, here);
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

/// Applies `T` along the columns, then along the rows of `N`×`N` positions, to `M`×`M` values for each tile of a
/// horizontal row, for one group of channels.
pub(super) struct Contract<'a, T, const N: usize, const M: usize> {
    pub map: PhantomData<T>,
    /// `(N·N, stride, 16)`, from the first tile on.
    pub products: &'a [Lanes],
    pub stride: usize,
    /// Rows of `width` values, `M` or fewer: what lies beyond is dropped.
    pub out: &'a mut [Lanes],
    pub width: usize,
}

impl<T: Map<N, M>, const N: usize, const M: usize> WithSimd for Contract<'_, T, N, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, stride, out, width, .. } = self;
        assert!((N * N - 1) * stride + width.div_ceil(M) <= products.len());
        let mut columns = [[Vector::splat(simd, 0.0); N]; M];
        for tile in 0..width.div_ceil(M) {
            for lane in (0..GROUP).step_by(S::F32_LANES) {
                for column in 0..N {
                    let mut x = [Vector::splat(simd, 0.0); N];
                    for (i, x) in x.iter_mut().enumerate() {
                        // SAFETY: the assertion above, for the last position and tile.
                        let product = unsafe { products.get_unchecked((i * N + column) * stride + tile) };
                        *x = Vector::load(simd, &product[lane..]);
                    }
                    for (row, y) in columns.iter_mut().zip(T::apply(x)) {
                        row[column] = y;
                    }
                }
                for (&x, row) in columns.iter().zip(out.chunks_exact_mut(width)) {
                    for (out, y) in row[tile * M..].iter_mut().zip(T::apply(x)) {
                        y.store(&mut out[lane..]);
                    }
                }
            }
        }
    }
}
