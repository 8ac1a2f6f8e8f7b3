//! From a loader of images to batches of tensors.

use candle_core::{Device, Tensor};
use fer_augment::{Augment, AugmentConfig, FillMode};
use fer_data::Loader;
use fer_nn::on_device::{Edge, EpochPlan, Samples, Warp};
use fer_train::{Batch, Batches, BoxError, Epoch, Stored};
use ndarray::Axis;

/// The batches of a [`Loader`] as tensors on a device: what `fer-train` trains on.
///
/// On another device than the CPU the images are kept there as bytes, and the device moves and mirrors them by the same
/// numbers; augmentation that changes their values (channel shift, brightness, rescaling, standardisation) is done on the
/// CPU, batch by batch.
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
    augment: Option<Augment>,
}

impl DeviceLoader {
    /// The batches of `loader`, on `device`.
    pub fn new(loader: Loader, device: Device) -> Self {
        Self { loader, device, augment: None }
    }

    /// Augments each image, by numbers that depend on the loader's seed, the epoch and the image's row alone.
    pub fn augmented(self, augment: Augment) -> Self {
        let kept = Some(augment.clone());
        let loader = self
            .loader
            .map(move |image, stream| Ok(augment.image(&mut stream.rng(), image.insert_axis(Axis(0)))?));
        Self { loader, augment: kept, ..self }
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

    fn stored(&self) -> Option<Stored> {
        let data = self.loader.data();
        let config = self.augment.as_ref().map(Augment::config);
        if self.device.is_cpu() || !config.is_none_or(only_moves) {
            return None;
        }
        let labels =
            data.labels()?.iter().map(|&label| data.encoder().encode(label)).collect::<Result<_, _>>();
        let samples = Samples {
            pixels: (0..data.len()).flat_map(|i| data.image(i).into_iter().copied()).collect(),
            labels: labels.ok()?,
            height: data.side(),
            width: data.side(),
            batch_size: self.loader.config().batch_size,
        };
        let edge = config.map_or(Edge::Nearest, |config| match config.fill_mode {
            FillMode::Nearest => Edge::Nearest,
            FillMode::Constant => Edge::Constant(config.cval),
            FillMode::Reflect => Edge::Reflect,
            FillMode::Wrap => Edge::Wrap,
        });
        Some(Stored { samples, edge })
    }

    fn plan(&self, epoch: u32) -> EpochPlan {
        let data = self.loader.data();
        let order = self.loader.order(epoch);
        let warp = |&i: &usize| {
            let Some(augment) = &self.augment else { return Warp::default() };
            let mut rng = self.loader.stream(epoch, data.rows()[i]).rng();
            let transform = augment.draw(&mut rng, data.side(), data.side());
            Warp {
                map: augment.map(&transform, data.side(), data.side()),
                flip_horizontal: transform.flip_horizontal,
                flip_vertical: transform.flip_vertical,
            }
        };
        EpochPlan {
            warps: order.iter().map(warp).collect(),
            order: order.into_iter().map(|i| i as u32).collect(),
        }
    }
}

/// Whether the pixels' values stay as they are.
fn only_moves(config: &AugmentConfig) -> bool {
    let AugmentConfig {
        channel_shift_range,
        brightness_range,
        rescale,
        samplewise_center,
        samplewise_std_normalization,
        featurewise_center,
        featurewise_std_normalization,
        ..
    } = config;
    *channel_shift_range == 0.0
        && brightness_range.is_none()
        && rescale.is_none()
        && !(*samplewise_center
            || *samplewise_std_normalization
            || *featurewise_center
            || *featurewise_std_normalization)
}
