#![doc = include_str!("../README.md")]
//!
//! # Inside
//! From the bottom up, no module uses one above it: `geometry`, `activation`, `channel`, `mask`, `mode`, `primitive` (plain values); `plan` (a
//! network lowered, for every device) and [`engine`] (what a trainer asks of a device); `cpu` and `gpu` (kernels, and an
//! engine each over a plan); `kernel` (one primitive on tensors of any device); `layer`, a file a layer; [`Graph`] and
//! [`Sequential`].

mod activation;
mod channel;
mod compute;
#[allow(unsafe_code, reason = "kernels")]
mod cpu;
#[allow(unsafe_code, reason = "a call of the driver")]
mod device;
pub mod engine;
mod error;
mod geometry;
#[cfg(any(feature = "cuda", test))]
#[allow(unsafe_code, reason = "calls of a card")]
mod gpu;
mod graph;
pub mod initializer;
mod kernel;
mod layer;
mod mask;
mod mode;
mod network;
pub mod plan;
mod primitive;

pub use activation::Activation;
pub use compute::{Compute, Precision};
pub use device::{device, device_name};
pub use error::{Error, Result};
pub use geometry::Padding;
pub use graph::probe::{Probe, Seen};
pub use graph::{Graph, Sequential, Value};
pub use initializer::var_builder;
pub use layer::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Dense,
    DenseConfig, Dropout, Flatten, GlobalMean, Layer, MaxPool2d, MeanPool2d, PRelu, PadChannels, Upsample,
    batch_norm, conv_transpose2d, conv2d, dense, dropout, max_pool2d, mean_pool2d, prelu,
};
pub use mask::Mask;
pub use mode::{Mode, Step};
pub use network::Network;
pub use plan::MovingVariance;

// Crates that public signatures name, in the version that they name.
pub use {candle_core, candle_nn};
