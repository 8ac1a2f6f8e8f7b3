#![doc = include_str!("../README.md")]

mod history;

pub use history::{EpochLog, History};
