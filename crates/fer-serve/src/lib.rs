#![doc = include_str!("../README.md")]

mod access;
mod body;
mod config;
mod error;
mod guard;
mod judge;
mod listen;
mod live;
mod metrics;
mod page;
mod problem;
mod routes;
mod server;
mod state;

pub use config::{Limits, ServeConfig, TlsConfig};
pub use error::{Error, Result};
pub use server::{About, Server};

// The crate of what is served.
pub use fer;
