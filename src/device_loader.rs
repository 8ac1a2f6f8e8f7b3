//! From a loader of images to batches of tensors.

use candle_core::{Device, Tensor};
use fer_augment::{Augment, AugmentConfig, FillMode, Generation, Transform};
use fer_data::Loader;
use fer_nn::on_device::{Edge, EpochPlan, Samples, Stretch, Tone, Warp};
use fer_train::{Batch, Batches, BoxError, Epoch, Stored};
use ndarray::Axis;

/// The batches of a [`Loader`] as tensors on a device: what `fer-train` trains on.
///
/// On another device than the CPU the images are kept there as bytes, and the device augments them by the same numbers.
/// Rescaling, standardisation and a function of your own ([`Loader::map`]) are done on the CPU, batch by batch.
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
    /// Whether what is done to the images is known: nothing, or `augment`.
    is_known: bool,
}

impl DeviceLoader {
    /// The batches of `loader`, on `device`.
    pub fn new(loader: Loader, device: Device) -> Self {
        Self { is_known: !loader.is_mapped(), loader, device, augment: None }
    }

    /// Augments each image, by numbers that depend on the loader's seed, the epoch and the image's row alone. This takes
    /// the place of the loader's own function on images.
    pub fn augmented(self, augment: Augment) -> Self {
        let kept = Some(augment.clone());
        let loader = self
            .loader
            .map(move |image, stream| Ok(augment.image(&mut stream.rng(), image.insert_axis(Axis(0)))?));
        Self { loader, augment: kept, is_known: true, ..self }
    }

    /// The images as they lie, and how the device treats them; `None` where that is more than it can do.
    fn bytes(&self) -> Option<Stored> {
        let data = self.loader.data();
        let config = self.augment.as_ref().map(Augment::config);
        if !self.is_known || config.is_some_and(standardizes) {
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
        let tones = config.filter(|config| changes_values(config)).map(|config| match config.generation {
            Generation::Notebook => Stretch::Always,
            Generation::Keras3 => Stretch::OutsideBytes,
        });
        Some(Stored { samples, edge, tones })
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
        if self.device.is_cpu() { None } else { self.bytes() }
    }

    fn plan(&self, epoch: u32) -> EpochPlan {
        let (data, order) = (self.loader.data(), self.loader.order(epoch));
        let side = data.side();
        let transform = |&i: &usize| match &self.augment {
            Some(augment) => augment.draw(&mut self.loader.stream(epoch, data.rows()[i]).rng(), side, side),
            None => Transform::default(),
        };
        let transforms: Vec<_> = order.iter().map(transform).collect();
        let warp = |transform: &Transform| Warp {
            map: self.augment.as_ref().and_then(|augment| augment.map(transform, side, side)),
            flip_horizontal: transform.flip_horizontal,
            flip_vertical: transform.flip_vertical,
        };
        let tone = |transform: &Transform| Tone {
            shift: transform.channel_shift_intensity.unwrap_or_default() as f32,
            brightness: transform.brightness.map(|factor| factor as f32),
        };
        let has_tones = self.augment.as_ref().is_some_and(|augment| changes_values(augment.config()));
        EpochPlan {
            warps: transforms.iter().map(warp).collect(),
            tones: if has_tones { transforms.iter().map(tone).collect() } else { Vec::new() },
            order: order.into_iter().map(|i| i as u32).collect(),
        }
    }
}

/// Whether there is channel shift or brightness.
fn changes_values(config: &AugmentConfig) -> bool {
    config.channel_shift_range != 0.0 || config.brightness_range.is_some()
}

fn standardizes(config: &AugmentConfig) -> bool {
    config.rescale.is_some()
        || config.samplewise_center
        || config.samplewise_std_normalization
        || config.featurewise_center
        || config.featurewise_std_normalization
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_data::{Dataset, LoaderConfig};

    fn loader() -> Loader {
        Loader::new(Dataset::drawn(40, 42), LoaderConfig::default()).unwrap()
    }

    fn augmented(config: AugmentConfig) -> DeviceLoader {
        DeviceLoader::new(loader(), Device::Cpu).augmented(Augment::new(config).unwrap())
    }

    #[test]
    fn a_device_gets_what_it_can_do_and_nothing_else() {
        let plain = DeviceLoader::new(loader(), Device::Cpu);
        let bytes = plain.bytes().unwrap();
        assert_eq!((bytes.samples.labels.len(), bytes.samples.batch_size, bytes.tones), (40, 32, None));
        assert_eq!(bytes.samples.pixels[..48], *plain.loader.data().image(0).row(0).to_vec());
        assert!(augmented(AugmentConfig::default()).bytes().unwrap().tones.is_none());
        let bright = AugmentConfig { brightness_range: Some((0.5, 1.5)), ..AugmentConfig::identity() };
        assert_eq!(augmented(bright.clone()).bytes().unwrap().tones, Some(Stretch::Always));
        let bright = AugmentConfig { generation: Generation::Keras3, ..bright };
        assert_eq!(augmented(bright).bytes().unwrap().tones, Some(Stretch::OutsideBytes));
        let rescaled = AugmentConfig { rescale: Some(2.0), ..AugmentConfig::identity() };
        assert!(augmented(rescaled).bytes().is_none());
        let own = loader().map(|mut image, _| {
            image.fill(0.5);
            Ok(())
        });
        assert!(DeviceLoader::new(own, Device::Cpu).bytes().is_none());
    }

    #[test]
    fn a_plan_has_the_loaders_order_and_each_images_own_numbers() {
        let config = AugmentConfig { channel_shift_range: 0.2, ..AugmentConfig::default() };
        let augment = Augment::new(config.clone()).unwrap();
        let train = augmented(config);
        let plan = train.plan(3);
        let order: Vec<u32> = train.loader.order(3).into_iter().map(|i| i as u32).collect();
        assert_eq!((&plan.order, plan.warps.len(), plan.tones.len()), (&order, 40, 40));
        let row = train.loader.data().rows()[order[7] as usize];
        let drawn = augment.draw(&mut train.loader.stream(3, row).rng(), 48, 48);
        assert_eq!(plan.warps[7].map, augment.map(&drawn, 48, 48));
        assert_eq!(plan.warps[7].flip_horizontal, drawn.flip_horizontal);
        assert_eq!(plan.tones[7].shift, drawn.channel_shift_intensity.unwrap() as f32);
        assert_ne!(plan, train.plan(4));
    }
}
