//! A network on a graphics card: forward, backward and the optimiser in few launches over memory that is kept.
//!
//! A [`Plan`](crate::plan::Plan) of layers that a card records is a `program`: its stages' sizes (`sizes`), variables
//! (`parameters`), memory (`memory`, `assignment`, `reuse`) and launches (`forward`, `backward`). [`Training`] adds batches and the
//! optimiser; [`Inference`] answers. Layers that are called one by one are `planar`.
//!
//! What a card does is a [`Gpu`](card::Gpu): memory, the kernels of `kernels/`, convolutions, products, and sequences of these
//! recorded once and replayed. CUDA is one; in tests an emulator is another, that runs the same kernels on the CPU. All
//! that is decided on the host, and every index in a kernel, is so tested without a card.
//!
//! Tensors of the card lie channels last, `(batch, height, width, channels)`.

pub(crate) mod args;
mod assignment;
mod backward;
mod batches;
mod card;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(feature = "cuda")]
mod cudnn;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(test)]
mod emulator;
mod forward;
#[cfg(feature = "cuda")]
pub(crate) mod held;
mod inference;
#[cfg(any(test, feature = "cuda"))]
mod kept;
#[cfg(any(test, feature = "cuda"))]
mod limits;
mod memory;
mod optimizer;
mod parameters;
mod planar;
mod program;
mod reuse;
#[cfg(any(test, feature = "cuda"))]
mod search;
#[cfg(feature = "cuda")]
pub(crate) mod single;
mod sizes;
mod spread;
#[cfg(test)]
mod tests;
mod training;

pub(crate) use inference::Inference;
#[cfg(test)]
pub(crate) use training::Training;
#[cfg(feature = "cuda")]
pub(crate) use training::{is_on_cuda, on_cuda};
