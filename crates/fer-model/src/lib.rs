#![doc = include_str!("../README.md")]

mod architecture;
mod classifier;
mod dcnn;
mod error;
mod explain;
mod heat_map;
mod input;
#[cfg(feature = "keras")]
pub mod keras;
mod layer_config;
mod layers;
mod limits;
#[cfg(feature = "onnx")]
pub mod onnx;
mod prediction;
mod preprocessing;
mod resnet;
mod saved;
mod vgg;
mod views;

pub use architecture::{Architecture, LayersConfig};
pub use classifier::Classifier;
pub use dcnn::{BlockConfig, DcnnConfig};
pub use error::{Error, Result};
pub use explain::{Explainer, Explanation};
pub use heat_map::HeatMap;
pub use input::Input;
pub use layer_config::{Initializer, LayerConfig, LayerKind};
pub use layers::{LayerInfo, Parameters};
pub use prediction::Prediction;
pub use preprocessing::{Preprocessing, Resize, to_grey};
pub use resnet::ResnetConfig;
pub use saved::{FORMAT_VERSION, ModelConfig, NamedTensors, load, save};
pub use vgg::{Head, VggConfig};
pub use views::Views;
#[cfg(feature = "pretrained")]
pub use {fer_weights::CARD as PRETRAINED_CARD, saved::load_pretrained};

// Crates that public signatures name, in the version that they name.
pub use {candle_core, image};
