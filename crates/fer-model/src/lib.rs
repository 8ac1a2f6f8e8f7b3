#![doc = include_str!("../README.md")]

mod classifier;
mod config;
mod dcnn;
mod error;
#[cfg(feature = "keras")]
pub mod keras;
mod layers;
mod preprocessing;
mod saved;

pub use classifier::{Classifier, Prediction};
pub use config::{BlockConfig, DcnnConfig};
pub use dcnn::Dcnn;
pub use error::Error;
pub use layers::{LayerInfo, LayerKind, Parameters};
pub use preprocessing::to_grey;
pub use saved::{FORMAT_VERSION, ModelConfig, NamedTensors, Preprocessing, load, save};
