//! The numbers that a value takes, and the 8-bit grid for them.

use super::program::Grid;

/// Equal parts of a range, in which numbers are counted.
const BINS: usize = 2048;
/// One number in so many is cut off.
const CUT_OFF: u64 = 100_000;

/// Where the numbers of a value lie: their bounds, then how many are in each of equal parts between.
#[derive(Clone, Debug)]
pub(super) struct Range {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Range {
    /// Bounds that hold 0, as a grid's must.
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
        let per_unit = BINS as f32 / (self.high - self.low);
        for &value in values {
            // Of bounds that are one, all are in the first part.
            self.counts[(((value - self.low) * per_unit) as usize).min(BINS - 1)] += 1;
        }
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// The grid over the range without its ends, whole parts in which all in all no more than one number in [`CUT_OFF`] lies:
    /// single numbers would widen it for all.
    pub fn grid(&self) -> Grid {
        let most = self.counts.iter().sum::<u64>() / CUT_OFF / 2;
        let width = (self.high - self.low) / BINS as f32;
        let below = cut_off(self.counts.iter(), most) as f32 * width;
        let above = cut_off(self.counts.iter().rev(), most) as f32 * width;
        over((self.low + below).min(0.0), (self.high - above).max(0.0))
    }
}

/// The first parts that hold so many numbers at most.
fn cut_off<'a>(counts: impl Iterator<Item = &'a u64>, most: u64) -> usize {
    let sums = counts.scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= most).count().min(BINS - 1)
}

/// The grid of 256 numbers over these bounds, which hold 0: 0 is one of its values.
fn over(low: f32, high: f32) -> Grid {
    let scale = (high - low) / 255.0;
    // Up to the next number of 8 bits: the file is the same where sums differ in their last.
    let scale = f32::from_bits((scale.to_bits() + 0xffff) & !0xffff);
    // All numbers are 0, or next to it.
    let scale = if scale.is_normal() { scale } else { 1.0 };
    Grid { scale, zero: (-low / scale).round_ties_even(), low: 0.0, high: 255.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(values: &[f32]) -> Grid {
        let mut range = Range::new();
        range.widen(values);
        range.count(values);
        range.grid()
    }

    #[test]
    fn a_grid_holds_all_numbers_but_one_in_a_hundred_thousand() {
        let few = grid(&[-1.0, 0.0, 3.0]);
        assert!((few.scale - 4.0 / 255.0).abs() < 4.0 / 255.0 / 128.0, "{few:?}");
        let [low, high] = [-1.0, 3.0].map(|value| (few.number(value) - few.zero) * few.scale);
        assert!((low + 1.0).abs() <= few.scale && (high - 3.0).abs() <= few.scale, "{few:?}");
        let mut many: Vec<f32> = (0..400_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        many[7] = 100.0;
        assert!(grid(&many).scale < 1.1 / 255.0 && grid(&many[..1000]).scale > 0.3);
    }

    #[test]
    fn numbers_are_next_and_even_of_two_as_near_and_within_a_byte() {
        let grid = Grid { scale: 2.0, zero: 10.0, low: 0.0, high: 255.0 };
        assert_eq!(
            [1.0, 3.0, 3.1, -999.0, 999.0].map(|value| grid.number(value)),
            [10.0, 12.0, 12.0, 0.0, 255.0]
        );
    }

    #[test]
    fn values_that_are_all_0_have_a_grid() {
        assert_eq!(grid(&[0.0; 3]), Grid { scale: 1.0, zero: 0.0, low: 0.0, high: 255.0 });
        assert_eq!(grid(&[5.0; 3]).zero, 0.0);
        assert_eq!(grid(&[-5.0; 3]).number(-5.0), 0.0);
    }
}
