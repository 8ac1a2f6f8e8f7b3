//! From a loader of images to batches of tensors.

use candle_core::{Device, Tensor};
use fer_augment::Augment;
use fer_data::Loader;
use fer_train::{Batch, Batches, BoxError, Epoch};
use ndarray::Axis;

/// The batches of a [`Loader`] as tensors on a device: what `fer-train` trains on.
///
/// ```
/// use candle_core::Device;
/// use fer::DeviceLoader;
/// use fer::augment::{Augment, AugmentConfig};
/// use fer::data::{Dataset, Loader, LoaderConfig};
/// use fer::train::Batches;
///
/// let faces = Dataset::drawn(40, 42);
/// let augment = Augment::new(AugmentConfig::default())?;
/// let train = DeviceLoader::new(Loader::new(faces, LoaderConfig::default())?, Device::Cpu).augmented(augment);
/// let sizes: Vec<usize> = train.epoch(0).map(|batch| batch.unwrap().images.dims()[0]).collect();
/// assert_eq!(sizes, [32, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeviceLoader {
    loader: Loader,
    device: Device,
}

impl DeviceLoader {
    /// The batches of `loader`, on `device`.
    pub fn new(loader: Loader, device: Device) -> Self {
        Self { loader, device }
    }

    /// Augments each image, by numbers that depend on the loader's seed, the epoch and the image's row alone.
    pub fn augmented(self, augment: Augment) -> Self {
        let loader = self
            .loader
            .map(move |image, stream| Ok(augment.image(&mut stream.rng(), image.insert_axis(Axis(0)))?));
        Self { loader, ..self }
    }
}

impl Batches for DeviceLoader {
    fn samples(&self) -> usize {
        self.loader.data().len()
    }

    fn steps(&self) -> usize {
        self.loader.batches()
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        let device = &self.device;
        Box::new(self.loader.epoch(epoch).map(move |batch| {
            let batch = batch?;
            let (shape, images) = (batch.images.dim(), batch.images.into_raw_vec_and_offset().0);
            Ok::<_, BoxError>(Batch {
                images: Tensor::from_vec(images, shape, device)?,
                labels: Tensor::new(batch.labels, device)?,
            })
        }))
    }
}
