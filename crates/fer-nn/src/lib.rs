#![doc = include_str!("../README.md")]

mod activation;
mod batch_norm;
mod compute;
mod conv2d;
mod cpu;
mod dense;
mod device;
mod dropout;
pub mod engine;
mod error;
#[cfg(any(feature = "cuda", test))]
mod gpu;
pub mod initializer;
mod max_pool2d;
mod network;
mod sequential;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormConfig, MovingVariance, batch_norm};
pub use compute::{Compute, Precision};
pub use conv2d::{Conv2d, Conv2dConfig, Padding, conv2d};
pub use dense::{Dense, DenseConfig, dense};
pub use device::{device, device_name};
pub use dropout::{Dropout, dropout};
pub use error::Error;
pub use initializer::var_builder;
pub use max_pool2d::max_pool2d;
pub use network::{Mode, Network, Step};
pub use sequential::{Layer, Sequential};
