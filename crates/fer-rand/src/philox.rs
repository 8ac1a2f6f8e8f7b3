//! Philox 4×32-10: a keyed bijection of a 128-bit counter.
//!
//! Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

use std::convert::Infallible;

use rand::TryRng;

/// What random numbers are for. Streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(u32);

impl Purpose {
    /// The purpose of this name: its 32-bit FNV-1a hash.
    ///
    /// ```
    /// use fer_rand::Purpose;
    /// assert_ne!(Purpose::named("dropout_1"), Purpose::named("dropout_2"));
    /// ```
    pub const fn named(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash = 0x811c_9dc5_u32;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
            i += 1;
        }
        Self(hash)
    }

    /// The number that stands for it in the counter.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The name of one stream of random numbers: 2³² blocks of four 32-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The user's seed.
    pub seed: u64,
    /// What the numbers are for.
    pub purpose: Purpose,
    /// The epoch they are used in, from 0; 0 where there is none.
    pub epoch: u32,
    /// What they are used on: an image's row, a step.
    pub item: u32,
}

impl Stream {
    /// The four words of block `index`, without those before it.
    #[inline]
    pub fn block(self, index: u32) -> [u32; 4] {
        self.blocks::<1>(index).map(|[word]| word)
    }

    /// The words of the `N` blocks from `first` on: `blocks[word][block]`. The blocks become the lanes of vector
    /// instructions where it is inlined.
    ///
    /// ```
    /// use fer_rand::{Purpose, Stream};
    /// let stream = Stream { seed: 1, purpose: Purpose::named("mask"), epoch: 0, item: 0 };
    /// assert_eq!(stream.blocks::<8>(100).map(|word| word[3]), stream.block(103));
    /// ```
    #[inline(always)]
    pub fn blocks<const N: usize>(self, first: u32) -> [[u32; N]; 4] {
        let mut blocks = [[0; N]; 4];
        for i in 0..N {
            // A word in 64 bits, where its product is: whatever stands above it is cut off when it is used.
            let word = |word: u32| u64::from(word);
            let [mut a, mut b, mut c, mut d] =
                [first.wrapping_add(i as u32), self.item, self.epoch, self.purpose.0].map(word);
            let mut key = [self.seed as u32, (self.seed >> 32) as u32];
            for _ in 0..10 {
                let low = word(a as u32) * 0xD251_1F53;
                let high = word(c as u32) * 0xCD9E_8D57;
                [a, b] = [high >> 32 ^ b ^ word(key[0]), high];
                [c, d] = [low >> 32 ^ d ^ word(key[1]), low];
                key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
            }
            blocks.iter_mut().zip([a, b, c, d]).for_each(|(words, word)| words[i] = word as u32);
        }
        blocks
    }

    /// A generator that reads the stream from its beginning.
    pub fn rng(self) -> Philox {
        Philox { stream: self, index: 0, words: [0; 4], used: 4 }
    }
}

/// A generator that reads a [`Stream`] word by word.
#[derive(Clone, Debug)]
pub struct Philox {
    stream: Stream,
    index: u32,
    words: [u32; 4],
    used: usize,
}

impl Philox {
    /// The numbers 0..`n` in random order (Fisher–Yates).
    ///
    /// ```
    /// use fer_rand::{Purpose, Stream};
    /// let stream = Stream { seed: 1, purpose: Purpose::named("shuffle"), epoch: 0, item: 0 };
    /// let mut order = stream.rng().permutation(100);
    /// order.sort();
    /// assert_eq!(order, (0..100).collect::<Vec<_>>());
    /// ```
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u32 + 1) as usize);
        }
        order
    }

    /// An integer in 0..`bound`, without bias (Lemire 2019). `bound` 0 gives 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.next_word()) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.next_word()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    fn next_word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = self.stream.block(self.index);
            self.index = self.index.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.next_word());
        Ok(u64::from(self.next_word()) << 32 | low)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The known answers of the authors' Random123 library (`tests/kat_vectors`, philox4x32 10).
    #[test]
    fn the_blocks_are_random123s() {
        let stream = |seed, purpose, epoch, item| Stream { seed, purpose: Purpose(purpose), epoch, item };
        assert_eq!(stream(0, 0, 0, 0).block(0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            stream(u64::MAX, u32::MAX, u32::MAX, u32::MAX).block(u32::MAX),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            stream(0x299f31d0a4093822, 0x03707344, 0x13198a2e, 0x85a308d3).block(0x243f6a88),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn integers_below_a_bound_are_uniform() {
        let mut rng = Stream { seed: 7, purpose: Purpose::named("test"), epoch: 0, item: 0 }.rng();
        let mut counts = [0_u32; 6];
        (0..60_000).for_each(|_| counts[rng.below(6) as usize] += 1);
        // Binomial(60000, 1/6) has a standard deviation of 91.
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 450), "{counts:?}");
        assert_eq!(rng.below(0), 0);
    }
}
