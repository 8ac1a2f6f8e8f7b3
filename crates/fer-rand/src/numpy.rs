//! NumPy's legacy generator, `numpy.random.RandomState`.
//!
//! Source: NumPy, `numpy/random/src/legacy/legacy-distributions.c` and `numpy/random/src/mt19937`.

use std::convert::Infallible;

use rand::{Rng, TryRng};
use rand_mt::Mt;

/// MT19937 seeded as `numpy.random.RandomState(seed)`, with the integer draws of NumPy's legacy interface.
///
/// ```
/// let mut rng = fer_rand::RandomState::new(42);
/// assert_eq!(rng.permutation(10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
/// assert_eq!(rng.permutation(5), [1, 0, 3, 4, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct RandomState(Mt);

impl RandomState {
    /// The generator that `numpy.random.RandomState(seed)` makes.
    pub fn new(seed: u32) -> Self {
        Self(Mt::new(seed))
    }

    /// An integer in 0..=`max` by masked rejection: `random_interval` of NumPy. Draws nothing when `max` is 0.
    pub fn random_interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let draw = if max <= u64::from(u32::MAX) {
                u64::from(self.next_u32())
            } else {
                let high = u64::from(self.next_u32());
                high << 32 | u64::from(self.next_u32())
            };
            if draw & mask <= max {
                return draw & mask;
            }
        }
    }

    /// The numbers 0..`n` in random order: `RandomState.permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.random_interval(i as u64) as usize);
        }
        order
    }

    /// `size` of the `items`, with replacement: `RandomState.choice(items, size)`. Empty when `items` is.
    ///
    /// ```
    /// let mut rng = fer_rand::RandomState::new(0);
    /// assert_eq!(rng.choice(&["happy", "sad", "neutral"], 4), ["happy", "sad", "happy", "sad"]);
    /// ```
    pub fn choice<T: Clone>(&mut self, items: &[T], size: usize) -> Vec<T> {
        let Some(last) = items.len().checked_sub(1) else {
            return Vec::new();
        };
        (0..size).map(|_| items[self.random_interval(last as u64) as usize].clone()).collect()
    }
}

impl TryRng for RandomState {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(dst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_double;

    #[test]
    fn the_raw_draws_are_numpys() {
        let mut rng = RandomState::new(42);
        let draws: Vec<u32> = (0..4).map(|_| rng.next_u32()).collect();
        assert_eq!(draws, [1608637542, 3421126067, 4083286876, 787846414]);
        let mut rng = RandomState::new(42);
        let doubles: Vec<f64> = (0..3).map(|_| next_double(&mut rng)).collect();
        assert_eq!(doubles, [0.3745401188473625, 0.9507143064099162, 0.7319939418114051]);
    }

    #[test]
    fn a_permutation_of_one_draws_nothing() {
        let mut rng = RandomState::new(42);
        assert_eq!(rng.permutation(1), [0]);
        assert_eq!(rng.permutation(0), [0usize; 0]);
        assert_eq!(rng.next_u32(), 1608637542);
    }

    #[test]
    fn a_wide_interval_takes_two_words_high_first() {
        let mut rng = RandomState::new(42);
        let max = (1 << 40) - 1;
        assert_eq!(rng.random_interval(max), (1608637542 << 32 | 3421126067) & max);
    }

    #[test]
    fn choosing_from_nothing_is_empty() {
        assert!(RandomState::new(0).choice::<u8>(&[], 3).is_empty());
    }
}
