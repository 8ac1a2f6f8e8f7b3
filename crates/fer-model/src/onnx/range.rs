//! The numbers that a value takes, and the 8-bit grid for them.

use super::program::Grid;

const BINS: usize = 2048;

/// Where the numbers of a value lie: their bounds at first, then how many are in each of equal parts between.
#[derive(Clone, Debug)]
pub(super) struct Range {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Range {
    /// Bounds that hold 0, as a grid must.
    pub fn new() -> Self {
        Self { low: 0.0, high: 0.0, counts: Vec::new() }
    }

    /// Widens the bounds to hold these numbers.
    pub fn widen(&mut self, values: &[f32]) {
        for &value in values {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            if value.is_nan() {
                self.high = f32::INFINITY;
            }
        }
    }

    /// Counts numbers within the bounds.
    pub fn count(&mut self, values: &[f32]) {
        self.counts.resize(BINS, 0);
        let width = (self.high - self.low) / BINS as f32;
        for &value in values {
            self.counts[(((value - self.low) / width) as usize).min(BINS - 1)] += 1;
        }
    }

    /// Whether the bounds are numbers.
    pub fn is_finite(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// The grid
    pub fn grid(&self) -> Grid {
        let how = std::env::var("FER_CALIB").unwrap_or_default();
        if let Some(p) = how.strip_prefix('p') {
            let p: f64 = p.parse::<f64>().unwrap() / 100.0;
            return self.percentile(p);
        }
        if how == "mse" {
            return self.least_error();
        }
        over(self.low, self.high)
    }

    fn percentile(&self, p: f64) -> Grid {
        let total: u64 = self.counts.iter().sum();
        let beyond = ((1.0 - p) * total as f64 / 2.0) as u64;
        let (mut a, mut b) = (0, BINS);
        let mut n = 0;
        while n + self.counts[a] <= beyond {
            n += self.counts[a];
            a += 1;
        }
        n = 0;
        while n + self.counts[b - 1] <= beyond {
            n += self.counts[b - 1];
            b -= 1;
        }
        let width = (self.high - self.low) / BINS as f32;
        over((self.low + a as f32 * width).min(0.0), (self.low + b as f32 * width).max(0.0))
    }

    fn least_error(&self) -> Grid {
        let width = (self.high - self.low) / BINS as f32;
        let error = |grid: Grid| -> f64 {
            self.counts
                .iter()
                .enumerate()
                .filter(|(_, n)| **n > 0)
                .map(|(i, &n)| {
                    let v = self.low + (i as f32 + 0.5) * width;
                    let q = (grid.number(v) - grid.zero) * grid.scale;
                    // Within a grid's step the error is a twelfth of its square.
                    let off = (v - q).abs();
                    let clipped =
                        if v < (0.0 - grid.zero) * grid.scale || v > (255.0 - grid.zero) * grid.scale {
                            f64::from(off).powi(2)
                        } else {
                            f64::from(grid.scale).powi(2) / 12.0
                        };
                    n as f64 * clipped
                })
                .sum()
        };
        let mut best = (f64::INFINITY, over(self.low, self.high));
        for i in 0..=40 {
            for j in 0..=40 {
                let g = over(self.low * (1.0 - i as f32 * 0.02), self.high * (1.0 - j as f32 * 0.02));
                let e = error(g);
                if e < best.0 {
                    best = (e, g);
                }
                if self.high == 0.0 {
                    break;
                }
            }
            if self.low == 0.0 {
                break;
            }
        }
        best.1
    }
}

/// The grid of 256 numbers over these bounds, which hold 0. 0 is one of its values.
fn over(low: f32, high: f32) -> Grid {
    let scale = (high - low) / 255.0;
    // All numbers are 0, or next to it.
    let scale = if scale.is_normal() { scale } else { 1.0 };
    Grid { scale, zero: (-low / scale).round_ties_even().clamp(0.0, 255.0), low: 0.0, high: 255.0 }
}
