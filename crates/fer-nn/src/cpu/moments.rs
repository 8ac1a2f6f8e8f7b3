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

    /// Of rows of `width` positions: the mean is measured from the first value, the squares from the mean, rounded
    /// to f32, so that a mean far from zero costs no precision.
    pub fn of(values: &[f32], width: usize) -> Self {
        let values = values.as_chunks::<GROUP>().0;
        let count = values.len() as f64;
        let Some(first) = values.first() else { return Self::NONE };
        let from_first = sums(values, width, first, |v| v);
        let mean = std::array::from_fn(|lane| f64::from(first[lane]) + from_first[lane] / count);
        let center = mean.map(|mean: f64| mean as f32);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::plain::values;

    #[test]
    fn parts_join_to_the_moments_of_the_whole_even_far_from_zero() {
        for (shift, rows, width) in [(0.0, 7, 9), (1e4, 48, 48), (-3.0, 1, 1)] {
            let values: Vec<f32> = values(rows * width * GROUP, 5).into_iter().map(|v| v + shift).collect();
            let mut joined = Moments::NONE;
            for part in values.chunks(3 * width * GROUP) {
                joined.join(&Moments::of(part, width));
            }
            for lane in 0..GROUP {
                let of_lane = || values.iter().skip(lane).step_by(GROUP).map(|&v| f64::from(v));
                let count = of_lane().count() as f64;
                let mean = of_lane().sum::<f64>() / count;
                let variance = of_lane().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
                let (found_mean, found) = joined.mean_and_variance(lane);
                assert!((found_mean - mean).abs() <= 1e-7 * mean.abs().max(1.0), "{found_mean} {mean}");
                assert!((found - variance).abs() <= 1e-5 * variance, "{found} {variance}");
            }
        }
    }
}
