#![doc = include_str!("../README.md")]

#[cfg(feature = "commands")]
pub mod command;
mod device_loader;
mod error;
mod evaluation;
mod figures;
mod files;
#[cfg(all(feature = "commands", feature = "onnx"))]
mod hugging_face;
mod json;
mod output;
mod page;
mod recognizer;
pub mod run;
mod tracker;

pub use device_loader::DeviceLoader;
pub use error::{Error, Result};
pub use evaluation::{Comparison, Evaluation};
pub use files::write_file;
pub use output::Output;
pub use recognizer::{Area, FaceCrop, FaceExpression, Recognizer};
pub use tracker::{TrackedFace, Tracker, TrackerConfig};

pub use fer_augment as augment;
pub use fer_data as data;
pub use fer_detect as detect;
pub use fer_metrics as metrics;
pub use fer_model as model;
pub use fer_nn as nn;
pub use fer_picture as picture;
pub use fer_plot as plot;
pub use fer_rand as rand;
pub use fer_train as train;

// Crates that public signatures name, in the version that they name.
pub use {candle_core, image, ndarray};
