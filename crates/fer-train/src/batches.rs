//! Where the images come from.

use candle_core::{DType, Device, Tensor};
use fer_nn::engine::{EpochPlan, Mix, Samples, Treatment};
use fer_rand::{Purpose, Stream};

use crate::{BoxError, Error, Result, loss};

/// Images and what they show.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The images `(batch, channels, height, width)`, on the network's device.
    pub images: Tensor,
    /// The labels `(batch,)` of `u32`, from 0, or the share of every class in each image, `(batch, classes)` of `f32`,
    /// which sum to 1.
    pub targets: Tensor,
}

impl Batch {
    /// The batch with each image and its target blended with another's: mixup (Zhang et al. 2018). The targets become
    /// shares of `classes` classes.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use fer_nn::engine::Mix;
    /// use fer_train::Batch;
    ///
    /// let images = Tensor::new(&[[[[0_f32]]], [[[1.0]]]], &Device::Cpu)?;
    /// let batch = Batch { images, targets: Tensor::new(&[0_u32, 1], &Device::Cpu)? };
    /// let mixed = batch.mixed(&Mix { share: 0.75, partners: vec![1, 0] }, 2)?;
    /// assert_eq!(mixed.images.flatten_all()?.to_vec1::<f32>()?, [0.25, 0.75]);
    /// assert_eq!(mixed.targets.to_vec2::<f32>()?, [[0.75, 0.25], [0.25, 0.75]]);
    /// # Ok::<(), fer_train::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not a partner for each image, [`Error::Label`] or [`Error::Share`] when the targets
    /// are not of `classes` classes, or candle's error, as for a partner that is not in the batch.
    pub fn mixed(&self, mix: &Mix, classes: usize) -> Result<Self> {
        let samples = self.images.dim(0)?;
        if mix.partners.len() != samples {
            return Err(Error::Shape {
                what: "partners of a mix",
                expected: format!("{samples}, one for each image"),
                found: mix.partners.len().to_string(),
            });
        }
        let shares = loss::shares(&self.targets, samples, classes)?;
        let shares = Tensor::from_vec(shares, (samples, classes), &Device::Cpu)?.to_dtype(DType::F32)?;
        let shares = shares.to_device(self.targets.device())?;
        let blend = |of: &Tensor| -> candle_core::Result<Tensor> {
            let partners = Tensor::new(mix.partners.as_slice(), of.device())?;
            let own = of.affine(f64::from(mix.share), 0.0)?;
            own + of.index_select(&partners, 0)?.affine(f64::from(1.0 - mix.share), 0.0)?
        };
        Ok(Self { images: blend(&self.images)?, targets: blend(&shares)? })
    }
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

    /// The samples as they are stored, where a device may make the same batches of them by itself. Default: it may not.
    fn stored(&self) -> Option<Stored> {
        None
    }

    /// What `epoch`, from 0, does with the [`stored`](Self::stored) samples. Without any it is never asked.
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
    /// How their images are treated.
    pub treatment: Treatment,
}

/// [`Batches`] of a function that makes those of an epoch, from 0: of any loader. The same epoch must give the same batches.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_train::{Batch, Batches, FnBatches};
///
/// let batch = |_| -> candle_core::Result<Batch> {
///     let images = Tensor::zeros((4, 1, 48, 48), DType::F32, &Device::Cpu)?;
///     Ok(Batch { images, targets: Tensor::zeros(4, DType::U32, &Device::Cpu)? })
/// };
/// let train = FnBatches::new(12, 3, move |_epoch| (0..3).map(move |step| Ok(batch(step)?)));
/// assert_eq!(train.epoch(0).count(), 3);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FnBatches<F> {
    samples: usize,
    steps: usize,
    make: F,
}

impl<F, I> FnBatches<F>
where
    F: Fn(u32) -> I,
    I: Iterator<Item = Result<Batch, BoxError>> + 'static,
{
    /// `make(epoch)` gives `steps` batches of `samples` samples together.
    pub fn new(samples: usize, steps: usize, make: F) -> Self {
        Self { samples, steps, make }
    }
}

impl<F, I> Batches for FnBatches<F>
where
    F: Fn(u32) -> I,
    I: Iterator<Item = Result<Batch, BoxError>> + 'static,
{
    fn samples(&self) -> usize {
        self.samples
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        Box::new((self.make)(epoch))
    }
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
    targets: Tensor,
    samples: usize,
    batch_size: usize,
    drop_last: bool,
    seed: Option<u64>,
}

impl TensorBatches {
    /// Batches of `batch_size` images, in their order; the last one of each epoch may be smaller. `images` is
    /// `(samples, …)`, `targets` is labels `(samples,)` of `u32` or shares `(samples, classes)` of `f32`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the targets are not one an image, [`Error::Config`] for a batch size of 0, or
    /// candle's error.
    pub fn new(images: Tensor, targets: Tensor, batch_size: usize) -> Result<Self> {
        crate::error::require(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        let samples = images.dim(0)?;
        if targets.rank() > 2 || targets.dims().first() != Some(&samples) {
            return Err(Error::Shape {
                what: "targets",
                expected: format!("({samples},) labels or ({samples}, classes) shares, one for each image"),
                found: format!("{:?}", targets.shape()),
            });
        }
        Ok(Self { images, targets, samples, batch_size, drop_last: false, seed: None })
    }

    /// The same, whose last batch of an epoch is left out when it is not full.
    pub fn drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// The same, in an order drawn anew for each epoch.
    pub fn shuffled(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

impl Batches for TensorBatches {
    fn samples(&self) -> usize {
        self.samples
    }

    fn steps(&self) -> usize {
        match self.drop_last {
            true => self.samples / self.batch_size,
            false => self.samples.div_ceil(self.batch_size),
        }
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
                    targets: self.targets.narrow(0, first, size)?,
                },
                Some(order) => {
                    let rows = order[first..first + size].iter().map(|&row| row as u32).collect();
                    let rows = Tensor::from_vec(rows, size, &Device::Cpu)?;
                    let of = |tensor: &Tensor| tensor.index_select(&rows.to_device(tensor.device())?, 0);
                    Batch { images: of(&self.images)?, targets: of(&self.targets)? }
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
        batches.epoch(epoch).map(|batch| batch.unwrap().targets.to_vec1().unwrap()).collect()
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
            batch.targets.to_vec1::<u32>().unwrap()
        );
    }

    #[test]
    fn a_batch_that_is_not_full_can_be_left_out() {
        let batches = ten().drop_last(true);
        assert_eq!((batches.samples(), batches.steps()), (10, 2));
        assert_eq!(labels_of(&batches, 0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7]]);
    }

    #[test]
    fn targets_must_be_one_for_each_image() {
        let images = Tensor::zeros((3, 1), DType::F32, &Device::Cpu).unwrap();
        let new = |shape: &[usize]| {
            let targets = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            TensorBatches::new(images.clone(), targets, 4)
        };
        assert!(new(&[3, 7]).is_ok());
        for shape in [vec![2], vec![2, 7], vec![3, 7, 1], vec![]] {
            assert!(matches!(new(&shape), Err(Error::Shape { .. })));
        }
    }

    #[test]
    fn a_mix_needs_a_partner_for_each_image_within_the_batch() {
        let batch = ten().epoch(0).next().unwrap().unwrap();
        let mix = |partners: &[u32]| batch.mixed(&Mix { share: 0.5, partners: partners.to_vec() }, 10);
        assert!(matches!(mix(&[0, 1]), Err(Error::Shape { .. })));
        assert!(mix(&[0, 1, 2, 4]).is_err());
        assert!(matches!(
            batch.mixed(&Mix { share: 0.5, partners: vec![0; 4] }, 3),
            Err(Error::Label { .. })
        ));
    }
}
