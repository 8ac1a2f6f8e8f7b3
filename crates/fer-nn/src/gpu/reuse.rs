//! Which values share memory: those that are not needed at the same time.

use candle_core::Result;

use super::card::{Address, Gpu};
use super::memory::Memory;

/// A value's memory, before its place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lot(usize);

/// Lots that are handed out and taken back in the order in which the values come and go.
#[derive(Debug, Default)]
pub(super) struct Reuse {
    bytes: Vec<usize>,
    free: Vec<Lot>,
}

impl Reuse {
    /// Memory for a value of so many bytes: the smallest free lot that is large enough, else the largest, which grows.
    pub fn take(&mut self, bytes: usize) -> Lot {
        let size = |&at: &usize| self.bytes[self.free[at].0];
        let fits = (0..self.free.len()).filter(|at| size(at) >= bytes).min_by_key(size);
        match fits.or_else(|| (0..self.free.len()).max_by_key(size)) {
            Some(at) => {
                let lot = self.free.swap_remove(at);
                self.bytes[lot.0] = self.bytes[lot.0].max(bytes);
                lot
            }
            None => {
                self.bytes.push(bytes);
                Lot(self.bytes.len() - 1)
            }
        }
    }

    /// The value is not needed any more.
    pub fn give(&mut self, lot: Lot) {
        self.free.push(lot);
    }

    /// The places of all lots.
    pub fn allocate<G: Gpu>(&self, memory: &Memory<G>) -> Result<Vec<Address>> {
        self.bytes.iter().map(|&bytes| memory.bytes(bytes)).collect()
    }
}

impl Lot {
    pub fn at(self, places: &[Address]) -> Address {
        places.get(self.0).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_needed_at_once_share_memory() {
        let mut reuse = Reuse::default();
        let (small, large) = (reuse.take(10), reuse.take(100));
        reuse.give(small);
        reuse.give(large);
        assert_eq!((reuse.take(5), reuse.take(120)), (small, large));
        assert_eq!(reuse.bytes, [10, 120]);
        assert_ne!(reuse.take(1), small);
    }
}
