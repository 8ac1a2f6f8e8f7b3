//! The memory that images take.

use std::path::Path;

use crate::{Error, Result};

/// The most that the pixels of all images may take.
const MAX_BYTES: u64 = 8 << 30;

/// The bytes of so many square images of one byte a pixel; `data` stands for them in errors.
pub(crate) fn bytes(data: &Path, images: usize, side: u32) -> Result<usize> {
    let bytes = images as u128 * u128::from(side) * u128::from(side);
    match usize::try_from(bytes) {
        Ok(size) if size as u64 <= MAX_BYTES => Ok(size),
        _ => Err(Error::TooLarge {
            path: data.to_owned(),
            images,
            side,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            limit: MAX_BYTES,
        }),
    }
}
