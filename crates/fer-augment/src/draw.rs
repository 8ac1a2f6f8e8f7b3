//! Numbers drawn from a range.

use fer_rand::next_double;
use rand::Rng;

/// From `low` to below `high`.
pub(crate) fn uniform(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * next_double(rng)
}

/// Within `range` of 0; nothing is drawn where it is 0.
pub(crate) fn symmetric(rng: &mut impl Rng, range: f64) -> f64 {
    if range == 0.0 { 0.0 } else { uniform(rng, (-range, range)) }
}

/// Within `range` of 1.
pub(crate) fn around_one(rng: &mut impl Rng, range: f64) -> f64 {
    uniform(rng, (1.0 - range, 1.0 + range))
}
