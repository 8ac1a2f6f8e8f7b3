//! The convolutional stages of a plan run as one: forward and backward over channel groups in kept memory.
//!
//! A stage's convolution reads the stage before, normalising on the way, and leaves the activation's output `y` with its
//! channels' moments; only where more follows (pooling, dropout, an addition, an activation after the norm), or where
//! somebody else reads it too, is the stage's output `z` written, in the same pass. Backward, the gradient of the input's
//! convolution adds up what the normalisation before it needs, while it is in cache.

mod backward;
mod forward;
mod stage;

pub(crate) use forward::Pass;
pub(crate) use stage::Fused;
