//! What lies outside an image.

use serde::{Deserialize, Serialize};

/// What lies outside the image, here for the pixels `a b c d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillMode {
    /// `a a a | a b c d | d d d`
    #[default]
    Nearest,
    /// `k k k | a b c d | k k k` with k = [`cval`](crate::AugmentConfig::cval); there is no blending across the edge.
    Constant,
    /// `c b a | a b c d | d c b`
    Reflect,
    /// `d b c | a b c d | b c a`, as scipy does it: the period is one pixel shorter than the image, so
    /// that the first and the last pixel share a place.
    Wrap,
}

impl FillMode {
    /// The place along an axis of `len` pixels that stands for this one, or none where it is outside for good.
    ///
    /// Source: scipy, `ndimage/src/ni_interpolation.c`, `map_coordinate`.
    #[inline(always)]
    pub(crate) fn map(self, place: f64, len: usize) -> Option<f64> {
        let last = (len - 1) as f64;
        if (0.0..=last).contains(&place) {
            return Some(place);
        }
        match self {
            Self::Constant => None,
            Self::Nearest => Some(place.max(0.0).min(last)),
            _ if len == 1 => Some(0.0),
            Self::Reflect => {
                // The far side of the image is its mirror, half a pixel beyond the last.
                let period = 2.0 * len as f64;
                let within = place - period * floor(place / period);
                Some(if within < len as f64 { within } else { period - within - 1.0 })
            }
            Self::Wrap if place < 0.0 => Some(place + last * ((-place / last).trunc() + 1.0)),
            Self::Wrap => Some(place - last * (place / last).trunc()),
        }
    }
}

/// `f64::floor` without the call that it is on machines before SSE 4.1; saturates at the bounds of `i64`.
#[inline(always)]
pub(crate) fn floor(place: f64) -> f64 {
    let whole = place as i64 as f64;
    if whole > place { whole - 1.0 } else { whole }
}
