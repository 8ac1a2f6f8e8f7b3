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
    /// network that holds a [`Sequential`](crate::Sequential) passes this on to it. What of one's own follows the sequence
    /// belongs into the loss, and gets its gradients too:
    ///
    /// ```
    /// use candle_core::backprop::GradStore;
    /// use candle_core::{DType, Device, Result, Tensor};
    /// use candle_nn::{Linear, Module, VarMap};
    /// use fer_nn::{GlobalMean, Mode, Network, Sequential, Step, conv2d, var_builder};
    ///
    /// struct Headed {
    ///     trunk: Sequential,
    ///     head: Linear,
    /// }
    ///
    /// impl Network for Headed {
    ///     fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
    ///         self.head.forward(&self.trunk.forward(images, mode)?)
    ///     }
    ///
    ///     fn gradients(
    ///         &self,
    ///         images: &Tensor,
    ///         step: Step,
    ///         loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ///     ) -> Result<GradStore> {
    ///         self.trunk.gradients(images, step, &mut |features| loss(&self.head.forward(features)?))
    ///     }
    /// }
    ///
    /// let vars = VarMap::new();
    /// let vb = var_builder(&vars, 42, &Device::Cpu);
    /// let trunk = Sequential::new().add(conv2d(1, 4, 3, Default::default(), vb.pp("conv"))?).add(GlobalMean);
    /// let network = Headed { trunk, head: candle_nn::linear(4, 2, vb.pp("head"))? };
    /// let images = Tensor::ones((2, 1, 8, 8), DType::F32, &Device::Cpu)?;
    /// let gradients = network.gradients(&images, Step::default(), &mut |logits| logits.sqr()?.sum_all())?;
    /// assert!(vars.all_vars().iter().all(|var| gradients.get(var).is_some()));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
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
