//! The random masks of dropout.

use fer_rand::{Purpose, Stream};

use crate::Step;

/// A dropout: its rate and the name of its random numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    pub(crate) rate: f32,
    pub(crate) purpose: Purpose,
}

impl Mask {
    /// The rate and the random numbers of a step; none when everything is kept.
    pub(crate) fn of(&self, step: Step) -> Option<(f32, Stream)> {
        let Step { seed, epoch, step: item } = step;
        (self.rate > 0.0).then_some((self.rate, Stream { seed, purpose: self.purpose, epoch, item }))
    }

    /// See [`threshold`]; none when everything is kept.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn threshold(&self) -> Option<(u32, f32)> {
        (self.rate > 0.0).then(|| threshold(self.rate))
    }
}

/// The least random word that keeps its value (u = word·2⁻³² ≥ rate, decided on the integers), and the factor of the
/// values that are kept.
pub(crate) fn threshold(rate: f32) -> (u32, f32) {
    ((f64::from(rate) * 4_294_967_296.0) as u32, 1.0 / (1.0 - rate))
}
