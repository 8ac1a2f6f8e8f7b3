//! Why a figure cannot be drawn or written.

use std::path::PathBuf;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a figure cannot be drawn or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The figure would show nothing.
    #[error("{figure}: there are no {missing} to show")]
    Empty {
        /// The figure asked for.
        figure: &'static str,
        /// What there is none of.
        missing: &'static str,
    },
    /// A class has no name.
    #[error("{figure}: class {class} has no name: {names} names are given")]
    Name {
        /// The figure asked for.
        figure: &'static str,
        /// The class without a name.
        class: usize,
        /// The number of names given.
        names: usize,
    },
    /// An image has no pixels, or is neither grey nor RGB.
    #[error(
        "{figure}: image {index} has {channels} channels of {height}x{width} pixels; allowed: 1 or 3, of at least one"
    )]
    Image {
        /// The figure asked for.
        figure: &'static str,
        /// The image's position among those given.
        index: usize,
        /// Its channels.
        channels: usize,
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
    },
    /// The figure is larger than a picture can be.
    #[error("a figure of {width}x{height} pixels is too large")]
    Size {
        /// The width in pixels.
        width: u32,
        /// The height in pixels.
        height: u32,
    },
    /// The picture cannot be encoded.
    #[error("the figure cannot be encoded as PNG")]
    Png(#[from] image::ImageError),
    /// A file cannot be written.
    #[error("{}: cannot be written", fer_files::printable(path.display()))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
