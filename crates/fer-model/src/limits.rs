//! What the settings of a network may be.

use crate::{Error, Result};

/// Kernels and filters beyond these are taken for a damaged file, not for a network.
pub(crate) const MAX_UNITS: usize = 1 << 16;

/// [`Error::Config`] unless a size is at least this much, and no more than a network has.
pub(crate) fn size(field: &str, value: usize, least: usize) -> Result<()> {
    if (least..=MAX_UNITS).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, value, format!("{least} to {MAX_UNITS}")))
}

/// [`Error::Config`] unless a rate is in 0..1.
pub(crate) fn rate(field: &str, value: f32) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::config(field, value, "at least 0 and below 1"))
}
