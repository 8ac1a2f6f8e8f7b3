//! What can be wrong with a configuration or an image.

use std::fmt::Debug;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a configuration or an image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of [`AugmentConfig`](crate::AugmentConfig) has a value that means nothing.
    #[error("{field} is {value}, but must be {allowed}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// The value it has.
        value: String,
        /// The values it may have.
        allowed: &'static str,
    },
    /// Feature-wise standardisation is asked for, but nothing was measured.
    #[error("{0} needs statistics of the training images: use Augment::fit, or Augment::fitted")]
    NotFitted(&'static str),
    /// There is no pixel to measure.
    #[error("there is nothing to fit to: the images have shape {0:?}")]
    NothingToFit([usize; 4]),
    /// The statistics do not describe images.
    #[error("the statistics are not usable: {0}")]
    Statistics(String),
    /// The image has another number of channels than what is to be done to it needs.
    #[error("the image has {found} channels, but {what} needs {expected}")]
    Channels {
        /// What is to be done to the image.
        what: &'static str,
        /// The number of channels it needs.
        expected: String,
        /// The number of channels the image has.
        found: usize,
    },
    /// There are not as many pixels as an image of this shape has.
    #[error("there are {found} pixels, but an image of shape {shape:?} has channels × height × width")]
    Size {
        /// The number of pixels.
        found: usize,
        /// Channels, height and width.
        shape: [usize; 3],
    },
    /// A setting leaves pixels in another range than 0..=1, so that they have no place in bytes.
    #[error("{0} leaves pixels that bytes cannot hold: augment them as f32")]
    NotBytes(&'static str),
    /// A mix does not fit the batch.
    #[error("the batch cannot be mixed: {0}")]
    Mix(String),
}

/// An error that names the field, its value and what is allowed, where the value is not valid.
pub(crate) fn check(
    valid: bool,
    field: &'static str,
    value: impl Debug,
    allowed: &'static str,
) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::Config { field, value: format!("{value:?}"), allowed }) }
}
