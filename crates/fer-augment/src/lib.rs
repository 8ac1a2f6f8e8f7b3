#![doc = include_str!("../README.md")]

mod affine;
mod augment;
mod blend;
mod config;
mod error;
mod intensity;
mod pairs;
mod resample;
mod statistics;
mod transform;

pub use augment::Augment;
pub use config::{AugmentConfig, FillMode, Generation};
pub use error::{Error, Result};
pub use statistics::Statistics;
pub use transform::Transform;
