//! What a layer is: its settings, its variables, and the plain operation with its gradient.

#[macro_use]
mod base;

mod activation;
mod batch_norm;
mod conv2d;
mod conv_transpose2d;
mod dense;
mod dropout;
mod pool2d;
mod prelu;
mod shape;

pub use base::Layer;
pub use batch_norm::{BatchNorm, BatchNormConfig, batch_norm};
pub use conv_transpose2d::{ConvTranspose2d, ConvTranspose2dConfig, conv_transpose2d};
pub use conv2d::{Conv2d, Conv2dConfig, conv2d};
pub use dense::{Dense, DenseConfig, dense};
pub use dropout::{Dropout, dropout};
pub use pool2d::{MaxPool2d, MeanPool2d, max_pool2d, mean_pool2d};
pub use prelu::{PRelu, prelu};
pub use shape::{Flatten, GlobalMean, PadChannels, Upsample};
