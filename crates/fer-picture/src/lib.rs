#![doc = include_str!("../README.md")]

mod decoder;
mod error;
mod jpeg;
mod planes;

use std::ffi::OsStr;
use std::path::Path;

use image::DynamicImage;

pub use decoder::{Decoder, contents};
pub use error::{Error, Problem, Result};
pub use planes::planes;

/// The endings of the pictures that are looked for in folders, in lower case.
pub const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp"];

/// Whether a file's name ends as a picture's, in lower or upper case.
///
/// ```
/// assert!(fer_picture::is_picture_name("faces/a.JPG"));
/// assert!(!fer_picture::is_picture_name("faces/Thumbs.db"));
/// ```
pub fn is_picture_name(path: impl AsRef<Path>) -> bool {
    let ending = path.as_ref().extension().and_then(OsStr::to_str).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// The picture in a file, by the default [`Decoder`].
///
/// # Errors
/// As [`Decoder::read`].
pub fn read(path: impl AsRef<Path>) -> Result<DynamicImage> {
    Decoder::default().read(path)
}

/// The picture in these bytes, by the default [`Decoder`].
///
/// # Errors
/// As [`Decoder::decode`].
pub fn decode(bytes: &[u8]) -> Result<DynamicImage, Problem> {
    Decoder::default().decode(bytes)
}
