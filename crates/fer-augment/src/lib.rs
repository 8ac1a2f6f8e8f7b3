#![doc = include_str!("../README.md")]

mod affine;
mod augment;
mod config;
mod error;
mod intensity;
mod resample;
mod statistics;
mod transform;

pub use augment::Augment;
pub use config::{AugmentConfig, FillMode, Generation};
pub use error::{Error, Result};
pub use statistics::Statistics;
pub use transform::Transform;
