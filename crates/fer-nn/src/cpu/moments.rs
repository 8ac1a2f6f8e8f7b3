//! The mean and variance of channels, gathered while a convolution's results are in cache.

use super::groups::{GROUP, Lanes};
use super::vectorized;

/// The mean of some values of each lane, and the sum of their squared distances from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    count: f64,
    mean: [f64; GROUP],
    squares: [f64; GROUP],
}

impl Moments {
    /// Of nothing.
    pub const NONE: Self = Self { count: 0.0, mean: [0.0; GROUP], squares: [0.0; GROUP] };

    /// Of rows of `width` positions: the squares are measured around the mean, rounded to f32.
    pub fn of(values: &[f32], width: usize) -> Self {
        let values = values.as_chunks::<GROUP>().0;
        let count = values.len() as f64;
        let mean = sums(values, width, &[0.0; GROUP], |v| v).map(|sum| sum / count);
        let center = mean.map(|mean| mean as f32);
        let squares = sums(values, width, &center, |v| v * v);
        let rest = |lane: usize| mean[lane] - f64::from(center[lane]);
        let squares = std::array::from_fn(|lane| squares[lane] - count * rest(lane) * rest(lane));
        Self { count, mean, squares }
    }

    /// Joins the moments of other values (Chan, Golub and LeVeque 1979).
    pub fn join(&mut self, other: &Self) {
        let count = self.count + other.count;
        for lane in 0..GROUP {
            let delta = other.mean[lane] - self.mean[lane];
            self.mean[lane] += delta * (other.count / count);
            self.squares[lane] += other.squares[lane] + delta * delta * (self.count * other.count / count);
        }
        self.count = count;
    }

    /// The mean and the biased variance of a lane; rounding may leave a little less than nothing.
    pub fn mean_and_variance(&self, lane: usize) -> (f64, f64) {
        (self.mean[lane], self.squares[lane].max(0.0) / self.count)
    }
}

/// Σ `term(value − center)`, in f32 along a row and in f64 over the rows.
#[inline(always)]
fn sums(values: &[Lanes], width: usize, center: &Lanes, term: impl Fn(f32) -> f32) -> [f64; GROUP] {
    let mut sums = [0.0; GROUP];
    vectorized(
        #[inline(always)]
        || {
            for row in values.chunks(width) {
                let mut of_row = [0.0_f32; GROUP];
                for lanes in row {
                    for i in 0..GROUP {
                        of_row[i] += term(lanes[i] - center[i]);
                    }
                }
                sums.iter_mut().zip(of_row).for_each(|(sum, v)| *sum += f64::from(v));
            }
        },
    );
    sums
}
