//! Why a picture could not be read.

use std::io;
use std::path::PathBuf;

use fer_files::Kind;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the picture in a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("{}: {source}", fer_files::printable(path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no picture that can be taken.
    #[error("{}: {problem}", fer_files::printable(path.display()))]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
}

/// What is wrong with a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are no picture of a kind that is read.
    #[error("{}, no picture; allowed: PNG, JPEG, BMP, GIF, TIFF, WebP", kind.map_or("unknown bytes".to_owned(), |kind| kind.to_string()))]
    NoPicture {
        /// What they are, where that is known.
        kind: Option<Kind>,
    },
    /// The picture ends before its end.
    #[error("the picture is cut off: the file is not complete")]
    Truncated,
    /// The picture has no pixels.
    #[error("a picture of {width}×{height}; allowed: at least one pixel")]
    NoPixels {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The picture would take too much memory.
    #[error("a picture of {width}×{height} takes {} MB; allowed: {} MB", bytes / 1_000_000, limit / 1_000_000)]
    TooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// What it takes in memory.
        bytes: u64,
        /// What it may take: [`Decoder::max_bytes`](crate::Decoder::max_bytes).
        limit: u64,
    },
    /// The picture has more pixels than are wanted.
    #[error("a picture of {width}×{height}; allowed: {limit} pixels")]
    TooManyPixels {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// What it may have: [`Decoder::max_pixels`](crate::Decoder::max_pixels).
        limit: u64,
    },
    /// The picture is damaged, or of a variety that is not read.
    #[error("no readable picture: {}", fer_files::printable(.0))]
    Decode(#[from] image::ImageError),
}
