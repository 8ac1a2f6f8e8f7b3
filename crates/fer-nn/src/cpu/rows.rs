//! Light convolutions of a plan run as one, in inference: depthwise ones, 1×1 ones, and what stands around them.
//!
//! Such layers do few products for a value that they read, so that passes over memory would cost more than the arithmetic.
//! Here rows flow through a chain of layers instead: each layer makes its next row as soon as the rows under its kernel are
//! there, and keeps only those rows, which stay in cache. What several layers read, or the network gives, is written whole,
//! and ends a chain. Images are split into bands of rows, one a thread; every value is computed by itself, in the same order of
//! additions whatever the bands, so that the result is the same to the bit on any number of threads.
//!
//! A row lies as `(⌈channels/16⌉, width, 16)`, a group of channels to the vector, as in [`groups`](super::groups), and a whole
//! map as `(batch, height, ⌈channels/16⌉, width, 16)`.

mod band;
mod chain;
mod depthwise;
mod filters;
mod images;
mod layer;
mod line;
mod network;
mod product;
mod row;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use network::Rows;
