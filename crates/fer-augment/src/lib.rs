#![doc = include_str!("../README.md")]

mod affine;
mod augment;
#[allow(unsafe_code, reason = "a kernel")]
mod blend;
mod config;
mod draw;
mod erase;
mod error;
mod fill_mode;
mod generation;
mod intensity;
mod mixup;
mod pairs;
mod pictures;
mod resample;
mod statistics;
mod tone;
mod transform;

pub use augment::Augment;
pub use config::AugmentConfig;
pub use erase::{EraseConfig, Rectangle};
pub use error::{Error, Result};
pub use fill_mode::FillMode;
pub use generation::Generation;
pub use mixup::{Mix, Mixup};
pub use statistics::Statistics;
pub use transform::Transform;

// Crates that public signatures name, in the version that they name.
#[cfg(feature = "image")]
pub use image;
pub use ndarray;
