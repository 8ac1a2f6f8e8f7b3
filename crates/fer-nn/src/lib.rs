#![doc = include_str!("../README.md")]

mod network;

pub use network::{Mode, Network, Step};
