//! Every layer against its definition in f64 (`reference.rs`), forward and backward, over random shapes.
//!
//! The references' own gradients are checked against finite differences.

mod batch_norm;
mod compare;
mod conv2d;
mod dense;
mod dropout;
mod max_pool2d;
mod more;
mod probe;
mod reference;
mod sequential;
mod threads;
