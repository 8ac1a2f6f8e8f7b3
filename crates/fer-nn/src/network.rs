//! What a network is to those who train and use it.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

use crate::engine::{Engine, Setup};
use crate::{Mode, Step};

/// A classifier of images. [`fer-train`](https://docs.rs/fer-train) trains whatever implements it.
pub trait Network {
    /// The logits `(batch, classes)` of `images` `(batch, channels, height, width)`.
    ///
    /// # Errors
    /// When the images have another shape than the network was made for, or the device fails.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The gradients of the network's variables in a training step: of the scalar that `loss` makes of the logits.
    ///
    /// By candle's backward pass through [`forward`](Self::forward), unless the network has a faster way: a
    /// network that holds a [`Sequential`](crate::Sequential) passes this on to it.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and when `loss` fails.
    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        loss(&self.forward(images, Mode::Train(step))?)?.backward()
    }

    /// Whether [`engine`](Self::engine) gives one, as far as can be told without samples. Implement both or none.
    fn has_engine(&self) -> bool {
        false
    }

    /// A training of this network that a device does by itself, where there is one: a
    /// [`Graph`](crate::Graph) on a CUDA device has it, a network that holds one passes this on.
    ///
    /// # Errors
    /// When the samples do not fit the network, or the device has no room for it.
    fn engine(&self, setup: &Setup) -> Result<Option<Box<dyn Engine>>> {
        let _ = setup;
        Ok(None)
    }
}
