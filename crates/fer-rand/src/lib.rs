#![doc = include_str!("../README.md")]

mod numpy;
mod philox;

pub use numpy::RandomState;
pub use philox::{Philox, Purpose, Stream};

use rand::Rng;

/// A double in [0, 1) with 53 random bits, made of two 32-bit draws as NumPy's legacy generator makes it:
/// `((a >> 5)·2²⁶ + (b >> 6)) / 2⁵³`.
///
/// ```
/// let mut numpy = fer_rand::RandomState::new(42);
/// assert_eq!(fer_rand::next_double(&mut numpy), 0.3745401188473625);
/// ```
pub fn next_double(rng: &mut impl Rng) -> f64 {
    let high = f64::from(rng.next_u32() >> 5);
    let low = f64::from(rng.next_u32() >> 6);
    (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
}
