#![doc = include_str!("../README.md")]

mod blaze;
#[cfg(feature = "centerface")]
mod centerface;
mod crop;
mod detector;
mod error;
mod geometry;
mod network;
mod picture;
mod suppress;
mod weights;
mod yunet;

pub use crop::{Framing, Square};
pub use detector::{Detector, DetectorConfig, Face};
pub use error::{Error, Result};
pub use geometry::{Point, Rect};
pub use network::Network;
