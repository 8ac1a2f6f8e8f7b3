//! What can go wrong.

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range.
    #[error("{field} is {value}, allowed: {allowed}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        allowed: &'static str,
    },
    /// A network could not be computed, for want of memory, say.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
