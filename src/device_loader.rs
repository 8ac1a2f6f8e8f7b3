//! From a loader of images to batches of tensors.

use candle_core::Device;
use fer_augment::{Augment, AugmentConfig, FillMode, Generation, Mixup, Transform};
use fer_data::{Loader, Shape, Tensors};
use fer_nn::engine::{Change, Edge, EpochPlan, Mix, Rectangle, Samples, Stretch, Treatment};
use fer_train::{Batch, Batches, BoxError, Epoch, Stored};

/// The batches of a [`Loader`] as tensors on a device: what `fer-train` trains on.
///
/// On another device than the CPU the images are kept there as bytes, and the device augments them by the same numbers.
/// What it cannot do (colour, Keras' rescaling and standardisation, a function of your own on images or batches) is done on
/// the CPU, batch by batch.
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
    mixup: Option<Mixup>,
    mean: f32,
    deviation: f32,
}

impl DeviceLoader {
    /// The batches of `loader`, on `device`.
    pub fn new(loader: Loader, device: Device) -> Self {
        Self { loader, device, augment: None, mixup: None, mean: 0.0, deviation: 1.0 }
    }

    /// Augments each image, by numbers that depend on the loader's seed, the epoch and the image's row alone. This takes
    /// the place of the loader's own function on images.
    pub fn augmented(self, augment: Augment) -> Self {
        let kept = Some(augment.clone());
        let loader = self.loader.map(move |image, stream| Ok(augment.image(&mut stream.rng(), image)?));
        Self { loader, augment: kept, ..self }
    }

    /// Blends the images of each batch and their targets, by numbers that depend on the loader's seed, the epoch and the
    /// batch alone. This takes the place of the loader's own function on batches.
    pub fn mixed(self, mixup: Mixup) -> Self {
        let loader = self.loader.map_batch(move |images, targets, stream| {
            let mix = mixup.draw(&mut stream.rng(), targets.nrows());
            Ok(mix.apply(images, targets)?)
        });
        Self { loader, mixup: Some(mixup), ..self }
    }

    /// Gives the network `(pixel − mean) / deviation`, of pixels of 0 to 1: what
    /// [`Preprocessing`](fer_model::Preprocessing) of the saved model repeats.
    pub fn standardized(self, mean: f32, deviation: f32) -> Self {
        Self { mean, deviation, ..self }
    }

    /// Whether all that is done to images is known here, and not a function of the loader's own.
    fn is_known(&self) -> bool {
        self.loader.is_mapped() == self.augment.is_some()
            && self.loader.is_batch_mapped() == self.mixup.is_some()
    }

    /// How a device treats the images; `None` where that is more than it can do.
    fn treatment(&self) -> Option<Treatment> {
        let plain = Treatment { mean: self.mean, deviation: self.deviation, ..Default::default() };
        match self.augment.as_ref().map(Augment::config) {
            None => Some(plain),
            Some(config) => treatment(config, plain),
        }
    }

    /// The images as they lie, and how the device treats them; `None` where that is more than it can do.
    fn bytes(&self) -> Option<Stored> {
        let data = self.loader.data();
        let treatment = self.treatment().filter(|_| self.is_known())?;
        let Shape { channels: 1, height, width } = data.shape() else { return None };
        data.labels()?;
        let targets = data.targets();
        let samples = Samples {
            pixels: (0..data.len()).flat_map(|i| data.image(i).into_iter().copied()).collect(),
            classes: targets.ncols(),
            targets: targets.into_iter().collect(),
            height,
            width,
            batch_size: self.loader.config().batch_size,
            drop_last: self.loader.config().drop_last,
        };
        Some(Stored { samples, treatment })
    }

    /// What a device does to one image.
    fn change(&self, augment: &Augment, transform: &Transform) -> Change {
        let Shape { height, width, .. } = self.loader.data().shape();
        let erased = transform.erased.map(|fer_augment::Rectangle { top, left, bottom, right }| Rectangle {
            top,
            left,
            bottom,
            right,
        });
        Change {
            map: augment.map(transform, height, width),
            flip_horizontal: transform.flip_horizontal,
            flip_vertical: transform.flip_vertical,
            shift: transform.channel_shift_intensity.unwrap_or_default() as f32,
            brightness: transform.brightness.map(|factor| factor as f32),
            contrast: transform.contrast.unwrap_or(1.0) as f32,
            offset: transform.offset.unwrap_or_default() as f32,
            erased,
        }
    }
}

/// How a device treats images of this augmentation; `None` where that is more than it can do.
fn treatment(config: &AugmentConfig, plain: Treatment) -> Option<Treatment> {
    // Every field is named, so that a new one cannot be forgotten here.
    let &AugmentConfig {
        rotation_range: _,
        width_shift_range: _,
        height_shift_range: _,
        shift_whole: _,
        shear_range: _,
        zoom_range: _,
        zoom_aspect: _,
        horizontal_flip: _,
        vertical_flip: _,
        channel_shift_range: _,
        brightness_range,
        contrast_range,
        offset_range,
        rescale,
        samplewise_center,
        samplewise_std_normalization,
        featurewise_center,
        featurewise_std_normalization,
        fill_mode,
        cval,
        generation,
        erase,
    } = config;
    let standardizes = rescale.is_some()
        || samplewise_center
        || samplewise_std_normalization
        || featurewise_center
        || featurewise_std_normalization;
    let stretch = match generation {
        Generation::Keras2 => Stretch::Always,
        Generation::Keras3 => Stretch::OutsideBytes,
        // Its brightness is a product, which the device does not have.
        _ if brightness_range.is_some() => return None,
        _ => Stretch::Always,
    };
    let edge = match fill_mode {
        FillMode::Nearest => Edge::Nearest,
        FillMode::Constant => Edge::Constant(cval),
        FillMode::Reflect => Edge::Reflect,
        FillMode::Wrap => Edge::Wrap,
    };
    let clamps = contrast_range != 0.0 || offset_range != 0.0;
    let erased_value = erase.map_or(0.0, |erase| erase.value);
    (!standardizes).then_some(Treatment { edge, stretch, clamps, erased_value, ..plain })
}

impl Batches for DeviceLoader {
    fn samples(&self) -> usize {
        self.loader.samples()
    }

    fn steps(&self) -> usize {
        self.loader.batches()
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        let device = &self.device;
        Box::new(self.loader.epoch(epoch).map(move |batch| {
            let mut batch = batch?;
            if (self.mean, self.deviation) != (0.0, 1.0) {
                batch.images.mapv_inplace(|pixel| (pixel - self.mean) / self.deviation);
            }
            let is_shared = self.loader.data().has_votes() || self.loader.is_batch_mapped();
            let Tensors { images, labels, targets } = batch.to_tensors(device)?;
            Ok::<_, BoxError>(Batch { images, targets: if is_shared { targets } else { labels } })
        }))
    }

    fn stored(&self) -> Option<Stored> {
        if self.device.is_cpu() { None } else { self.bytes() }
    }

    fn plan(&self, epoch: u32) -> EpochPlan {
        let (data, order) = (self.loader.data(), self.loader.order(epoch));
        let Shape { height, width, .. } = data.shape();
        let change = |augment: &Augment, i: usize| {
            let transform = augment.draw(&mut self.loader.stream(epoch, data.rows()[i]).rng(), height, width);
            self.change(augment, &transform)
        };
        let mix = |mixup: &Mixup, (step, batch): (usize, &[usize])| {
            let mut rng = self.loader.batch_stream(epoch, step as u32).rng();
            let fer_augment::Mix { share, partners } = mixup.draw(&mut rng, batch.len());
            Mix { share, partners }
        };
        let batches = order.chunks(self.loader.config().batch_size).enumerate();
        EpochPlan {
            changes: match &self.augment {
                Some(augment) => order.iter().map(|&i| change(augment, i)).collect(),
                None => Vec::new(),
            },
            mixes: match &self.mixup {
                Some(mixup) => batches.map(|batch| mix(mixup, batch)).collect(),
                None => Vec::new(),
            },
            order: order.into_iter().map(|i| i as u32).collect(),
        }
    }
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
        let Stored { samples, treatment } = plain.bytes().unwrap();
        assert_eq!((samples.len(), samples.batch_size, treatment), (40, 32, Treatment::default()));
        assert!(samples.pixels[..48 * 48].iter().eq(plain.loader.data().image(0)));
        assert_eq!(samples.targets.len(), 40 * samples.classes);
        let recipe = augmented(AugmentConfig::recipe()).standardized(0.5, 0.25).bytes().unwrap().treatment;
        assert!(recipe.clamps && recipe.edge == Edge::Reflect && recipe.erased_value > 0.5);
        assert_eq!((recipe.mean, recipe.deviation), (0.5, 0.25));
        let bright = AugmentConfig { brightness_range: Some((0.5, 1.5)), ..AugmentConfig::identity() };
        assert_eq!(augmented(bright.clone()).bytes().unwrap().treatment.stretch, Stretch::Always);
        let keras3 = AugmentConfig { generation: Generation::Keras3, ..bright.clone() };
        assert_eq!(augmented(keras3).bytes().unwrap().treatment.stretch, Stretch::OutsideBytes);
        assert!(augmented(AugmentConfig { generation: Generation::Plain, ..bright }).bytes().is_none());
        let rescaled = AugmentConfig { rescale: Some(2.0), ..AugmentConfig::identity() };
        assert!(augmented(rescaled).bytes().is_none());
        let colour = Loader::new(Dataset::drawn(40, 42).in_colour(), LoaderConfig::default()).unwrap();
        assert!(DeviceLoader::new(colour, Device::Cpu).bytes().is_none());
        let own = loader().map(|mut image, _| {
            image.fill(0.5);
            Ok(())
        });
        assert!(DeviceLoader::new(own, Device::Cpu).bytes().is_none());
        let own = loader().map_batch(|_, _, _| Ok(()));
        assert!(DeviceLoader::new(own.clone(), Device::Cpu).bytes().is_none());
        assert!(DeviceLoader::new(own, Device::Cpu).mixed(Mixup::default()).bytes().is_some());
    }

    #[test]
    fn a_plan_has_the_loaders_order_and_each_images_own_numbers() {
        let config = AugmentConfig { channel_shift_range: 0.2, ..AugmentConfig::recipe() };
        let augment = Augment::new(config.clone()).unwrap();
        let train = augmented(config).mixed(Mixup::default());
        let plan = train.plan(3);
        let order: Vec<u32> = train.loader.order(3).into_iter().map(|i| i as u32).collect();
        assert_eq!((&plan.order, plan.changes.len(), plan.mixes.len()), (&order, 40, 2));
        assert_eq!([plan.mixes[0].partners.len(), plan.mixes[1].partners.len()], [32, 8]);
        let row = train.loader.data().rows()[order[7] as usize];
        let drawn = augment.draw(&mut train.loader.stream(3, row).rng(), 48, 48);
        assert_eq!(plan.changes[7], train.change(&augment, &drawn));
        assert_eq!(plan.changes[7].contrast, drawn.contrast.unwrap() as f32);
        assert_ne!(plan, train.plan(4));
    }

    #[test]
    fn batches_are_standardised_after_all_else() {
        let [plain, standardised] = [(0.0, 1.0), (0.5, 0.25)].map(|(mean, deviation)| {
            let train = augmented(AugmentConfig::recipe()).mixed(Mixup::default());
            let batch = train.standardized(mean, deviation).epoch(1).next().unwrap().unwrap();
            (batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap(), batch.targets.dims().to_vec())
        });
        assert_eq!(plain.1, [32, 3]);
        assert!(plain.0.iter().zip(&standardised.0).all(|(a, b)| (a - 0.5) / 0.25 == *b));
    }
}
