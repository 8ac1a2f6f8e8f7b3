//! Batches as candle's tensors.

use candle_core::{Device, Result, Tensor};

use crate::Batch;

/// A [`Batch`] as tensors, behind the feature `candle`.
#[derive(Clone, Debug)]
pub struct Tensors {
    /// (batch, channels, height, width), f32.
    pub images: Tensor,
    /// (batch), u32: the class of each image, from 0, which [`candle_nn::loss::cross_entropy`] takes; (0) for data without
    /// labels.
    ///
    /// [`candle_nn::loss::cross_entropy`]: https://docs.rs/candle-nn/latest/candle_nn/loss/fn.cross_entropy.html
    pub labels: Tensor,
    /// (batch, classes), f32: what the network should say, in shares that sum to 1.
    pub targets: Tensor,
}

impl Batch {
    /// The batch as tensors on a device.
    ///
    /// ```
    /// # use fer_data::{Dataset, Loader, LoaderConfig};
    /// # use candle_core::Device;
    /// let loader = Loader::new(Dataset::drawn(40, 42), LoaderConfig::default())?;
    /// for batch in loader.epoch(0) {
    ///     let tensors = batch?.to_tensors(&Device::Cpu)?;
    ///     assert_eq!(tensors.images.dims()[1..], [1, 48, 48]);
    ///     assert_eq!(tensors.labels.dims()[0], tensors.targets.dims()[0]);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_tensors(&self, device: &Device) -> Result<Tensors> {
        let images: Vec<f32> = self.images.iter().copied().collect();
        let targets: Vec<f32> = self.targets.iter().copied().collect();
        Ok(Tensors {
            images: Tensor::from_vec(images, self.images.dim(), device)?,
            labels: Tensor::from_slice(&self.labels, self.labels.len(), device)?,
            targets: Tensor::from_vec(targets, self.targets.dim(), device)?,
        })
    }
}
