//! Epochs of a recipe on noise.

use std::path::Path;

use candle_nn::VarMap;
use fer::DeviceLoader;
use fer::augment::Augment;
use fer::data::{Dataset, Loader, LoaderConfig};
use fer::model::{Input, ModelConfig};
use fer::nn::{Compute, Precision, var_builder};
use fer::run::Settings;
use fer::train::{TrainConfig, Trainer};
use ndarray::Array3;

use crate::times::time;
use crate::{Check, Failure, pixels};

/// Epochs that are measured, after one that is not.
const EPOCHS: u32 = 5;

/// Seconds of an epoch of the recipe, of `images` images of eight classes in bfloat16, without validation: drawing how each image is
/// changed, mixing, training, the moving average.
pub fn recipe(check: &mut Check, path: &Path, images: usize) -> Result<(), Failure> {
    let settings = Settings::default().with_recipe(path)?;
    let compute = Compute { precision: Precision::Bf16, deterministic: false };
    let names: Vec<String> = (0..8).map(|class| format!("class {class}")).collect();
    let (mean, deviation) = (settings.preprocessing.mean, settings.preprocessing.deviation);

    let labels = (0..images as u32).map(|image| image % 8).collect();
    let data = Dataset::new(Array3::from_shape_vec((images, 48, 48), pixels(images)?)?, Some(labels), None)?
        .named(&names)?;
    let loader =
        LoaderConfig { batch_size: settings.batch_size, drop_last: settings.drop_last, ..Default::default() };
    let mut train = DeviceLoader::new(Loader::new(data, loader)?, check.device.clone())
        .standardized(mean, deviation)
        .augmented(Augment::new(settings.augment)?);
    if let Some(mixup) = settings.mixup {
        train = train.mixed(mixup);
    }

    let weights = VarMap::new();
    let model = ModelConfig::new(settings.model, Input::grey(48), names)?;
    let network = model.network(var_builder(&weights, settings.train.seed, &check.device))?.compute(compute);
    let trainer = Trainer::new(TrainConfig { epochs: 1 + EPOCHS, ..settings.train })?;
    let outcome = trainer.fit(&network, &weights, &train, None, &mut [])?;
    let seconds: Vec<f64> = outcome.history.epochs.iter().skip(1).map(|epoch| epoch.seconds).collect();
    time(check, "recipe_epoch", settings.batch_size, images, compute.precision, &seconds)
}
