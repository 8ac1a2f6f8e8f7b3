//! Where the images come from.

use candle_core::{D, Device, Tensor};
use fer_nn::on_device::{Edge, EpochPlan, Samples, Stretch};
use fer_rand::{Purpose, Stream};

use crate::{BoxError, Error};

/// Images and their labels.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The images `(batch, channels, height, width)`, on the network's device.
    pub images: Tensor,
    /// The labels `(batch,)`, `u32`, from 0.
    pub labels: Tensor,
}

/// The iterator over the batches of an epoch.
pub type Epoch<'a> = Box<dyn Iterator<Item = Result<Batch, BoxError>> + 'a>;

/// A source of batches that can be asked for any epoch, in any order. The same epoch gives the same batches:
/// that is what makes a resumed training go on as if it had never stopped.
pub trait Batches {
    /// The number of samples in an epoch.
    fn samples(&self) -> usize;

    /// The number of batches in an epoch.
    fn steps(&self) -> usize;

    /// The batches of `epoch`, from 0.
    fn epoch(&self, epoch: u32) -> Epoch<'_>;

    /// The samples as they are stored, where a device may make the same batches of them by itself.
    fn stored(&self) -> Option<Stored> {
        None
    }

    /// What `epoch`, from 0, does with the stored samples; of no account where there are none.
    fn plan(&self, epoch: u32) -> EpochPlan {
        let _ = epoch;
        EpochPlan::default()
    }
}

/// Samples that a device may keep.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The samples.
    pub samples: Samples,
    /// What lies outside the images that are moved.
    pub edge: Edge,
    /// Where images' values are changed, how brightness is made.
    pub tones: Option<Stretch>,
}

/// [`Batches`] of tensors that are in memory already.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use fer_train::{Batches, TensorBatches};
///
/// let images = Tensor::zeros((10, 1, 48, 48), candle_core::DType::F32, &Device::Cpu)?;
/// let labels = Tensor::zeros(10, candle_core::DType::U32, &Device::Cpu)?;
/// let train = TensorBatches::new(images, labels, 4)?.shuffled(42);
/// assert_eq!(train.steps(), 3); // of 4, 4 and 2 images
/// assert_eq!(train.epoch(0).last().unwrap()?.images.dims(), [2, 1, 48, 48]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorBatches {
    images: Tensor,
    labels: Tensor,
    batch_size: usize,
    seed: Option<u64>,
}

impl TensorBatches {
    /// Batches of `batch_size` images, in their order; the last one of each epoch may be smaller. `images` is
    /// `(samples, …)`, `labels` is `(samples,)` of `u32`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the labels are not one an image, [`Error::Config`] for a batch size of 0, or
    /// candle's error.
    pub fn new(images: Tensor, labels: Tensor, batch_size: usize) -> Result<Self, Error> {
        crate::config::require(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        let samples = images.dim(0)?;
        if labels.dims() != [samples] {
            return Err(Error::Shape {
                what: "labels",
                expected: format!("({samples},), one for each image"),
                found: format!("{:?}", labels.shape()),
            });
        }
        Ok(Self { images, labels, batch_size, seed: None })
    }

    /// The same, in an order drawn anew for each epoch.
    pub fn shuffled(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

impl Batches for TensorBatches {
    fn samples(&self) -> usize {
        self.labels.dim(D::Minus1).unwrap_or(0)
    }

    fn steps(&self) -> usize {
        self.samples().div_ceil(self.batch_size)
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        let order = self.seed.map(|seed| {
            let stream = Stream { seed, purpose: Purpose::named("shuffle"), epoch, item: 0 };
            stream.rng().permutation(self.samples())
        });
        Box::new((0..self.steps()).map(move |step| {
            let first = step * self.batch_size;
            let size = self.batch_size.min(self.samples() - first);
            let batch = match &order {
                None => Batch {
                    images: self.images.narrow(0, first, size)?,
                    labels: self.labels.narrow(0, first, size)?,
                },
                Some(order) => {
                    let rows = order[first..first + size].iter().map(|&row| row as u32).collect();
                    let rows = Tensor::from_vec(rows, size, &Device::Cpu)?.to_device(self.images.device())?;
                    Batch {
                        images: self.images.index_select(&rows, 0)?,
                        labels: self.labels.index_select(&rows, 0)?,
                    }
                }
            };
            Ok(batch)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of(batches: &TensorBatches, epoch: u32) -> Vec<Vec<u32>> {
        batches.epoch(epoch).map(|batch| batch.unwrap().labels.to_vec1().unwrap()).collect()
    }

    fn ten() -> TensorBatches {
        let labels = Tensor::arange(0_u32, 10, &Device::Cpu).unwrap();
        let images = labels.reshape((10, 1, 1, 1)).unwrap();
        TensorBatches::new(images, labels, 4).unwrap()
    }

    #[test]
    fn unshuffled_batches_keep_their_order() {
        assert_eq!(labels_of(&ten(), 0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        assert_eq!(labels_of(&ten(), 0), labels_of(&ten(), 1));
    }

    #[test]
    fn an_epoch_is_shuffled_in_its_own_order_and_keeps_images_with_their_labels() {
        let batches = ten().shuffled(1);
        assert_eq!(labels_of(&batches, 3), labels_of(&batches, 3));
        assert_ne!(labels_of(&batches, 3), labels_of(&batches, 4));
        let mut all = labels_of(&batches, 3).concat();
        all.sort();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        let batch = batches.epoch(3).next().unwrap().unwrap();
        assert_eq!(
            batch.images.flatten_all().unwrap().to_vec1::<u32>().unwrap(),
            batch.labels.to_vec1::<u32>().unwrap()
        );
    }

    #[test]
    fn labels_must_be_one_for_each_image() {
        let images = Tensor::zeros((3, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let labels = Tensor::zeros(2, candle_core::DType::U32, &Device::Cpu).unwrap();
        assert!(matches!(TensorBatches::new(images, labels, 4), Err(Error::Shape { .. })));
    }
}
