//! The memory that images take.

use std::path::Path;

use crate::{Error, Result, Shape};

/// The most that the pixels of all images may take.
const MAX_BYTES: u64 = 8 << 30;

/// The bytes of so many images of this shape; `data` stands for them in errors.
pub(crate) fn bytes(data: &Path, images: usize, shape: Shape) -> Result<usize> {
    let Shape { channels, height, width } = shape;
    let bytes =
        [channels, height, width].iter().fold(images as u128, |all, n| all.saturating_mul(*n as u128));
    match usize::try_from(bytes) {
        Ok(size) if size as u64 <= MAX_BYTES => Ok(size),
        _ => Err(Error::TooLarge {
            path: data.to_owned(),
            images,
            shape,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            limit: MAX_BYTES,
        }),
    }
}
