//! The settings of a run: defaults, then the configuration file, then the flags.

use std::fs;
use std::path::PathBuf;

use fer::augment::{AugmentConfig, Mixup};
use fer::data::{Duplicates, FerPlusTargets, Split};
use fer::model::{Architecture, BlockConfig, DcnnConfig, Preprocessing, Views};
use fer::nn::Compute;
use fer::train::{EarlyStoppingConfig, ReduceLrOnPlateauConfig, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Failure;
use crate::args::{Args, SplitName};

/// Everything that a run is made from, as `run.json` records it and a configuration file may give it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data; `None` for drawn faces.
    pub data: Option<PathBuf>,
    /// Drawn faces, when there is no data.
    pub drawn_faces: usize,
    /// The votes of FER+.
    pub ferplus: Option<PathBuf>,
    /// What is made of the votes, in 8 classes; `None` relabels by their majority in 7.
    #[serde(default)]
    pub ferplus_targets: Option<FerPlusTargets>,
    pub labels: Vec<u8>,
    /// Leaves out images of one grey value.
    #[serde(default)]
    pub drop_constant: bool,
    pub split: Split,
    pub batch_size: usize,
    /// Leaves out the last batch of an epoch when it is not full.
    #[serde(default)]
    pub drop_last: bool,
    pub augment: AugmentConfig,
    #[serde(default)]
    pub mixup: Option<Mixup>,
    /// What the saved model does to an image, and the training after augmentation.
    #[serde(default)]
    pub preprocessing: Preprocessing,
    /// The architecture; classes and image size come from the data.
    pub model: Architecture,
    /// How the report looks at an image, beside the one view.
    #[serde(default)]
    pub views: Views,
    /// How a CUDA device computes.
    #[serde(default)]
    pub compute: Compute,
    /// Epochs, seed, optimiser and loss.
    pub train: TrainConfig,
    pub early_stopping: EarlyStoppingConfig,
    pub reduce_lr: ReduceLrOnPlateauConfig,
}

impl Settings {
    /// The notebook's.
    fn notebook() -> Self {
        Self {
            data: None,
            drawn_faces: 0,
            ferplus: None,
            ferplus_targets: None,
            labels: vec![3, 4, 6],
            drop_constant: false,
            split: Split::default(),
            batch_size: 32,
            drop_last: false,
            augment: AugmentConfig::default(),
            mixup: None,
            preprocessing: Preprocessing::default(),
            model: DcnnConfig::default().into(),
            views: Views::default(),
            compute: Compute::default(),
            train: TrainConfig::default(),
            early_stopping: EarlyStoppingConfig::default(),
            reduce_lr: ReduceLrOnPlateauConfig::default(),
        }
    }

    /// Small enough for a minute on two cores.
    fn drawn() -> Self {
        let block = |filters, kernel, dropout| BlockConfig { filters, kernel, dropout };
        Self {
            drawn_faces: 4000,
            model: DcnnConfig {
                blocks: vec![block(8, 5, 0.1), block(16, 3, 0.1), block(32, 3, 0.2)],
                dense_units: 64,
                dense_dropout: 0.3,
                ..Default::default()
            }
            .into(),
            augment: AugmentConfig {
                rotation_range: 7.0,
                width_shift_range: 0.06,
                height_shift_range: 0.06,
                zoom_range: (0.92, 1.08),
                ..Default::default()
            },
            train: TrainConfig { epochs: 8, ..Default::default() },
            ..Self::notebook()
        }
    }

    /// The settings that the command line asks for.
    pub fn of(args: &Args) -> Result<Self, Failure> {
        let base = if args.data.is_some() { Self::notebook() } else { Self::drawn() };
        let mut settings = match &args.config {
            Some(path) => {
                let name = path.display();
                let text = fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
                base.changed_by(&text).map_err(|e| format!("{name}: {e}"))?
            }
            None => base,
        };
        settings.data.clone_from(&args.data);
        settings.override_by(args)?;
        Ok(settings)
    }

    /// The settings of the run to resume, which flags may only confirm, but for the number of epochs.
    pub fn resumed(&self, args: &Args) -> Result<Self, Failure> {
        if args.config.is_some() {
            return Err("--config cannot be changed on --resume; the run keeps its settings".into());
        }
        let mut settings = self.clone();
        if args.data.is_some() {
            settings.data.clone_from(&args.data);
        }
        settings.override_by(args)?;
        let unchanged = Self {
            data: settings.data.clone(),
            ferplus: settings.ferplus.clone(),
            train: TrainConfig { epochs: settings.train.epochs, ..self.train.clone() },
            ..self.clone()
        };
        if settings != unchanged {
            return Err(
                "--resume goes on with the settings of the run; only --epochs, --threads, --device and \
                        where the data lies may differ"
                    .into(),
            );
        }
        Ok(settings)
    }

    fn override_by(&mut self, args: &Args) -> Result<(), Failure> {
        if args.ferplus.is_some() {
            self.ferplus.clone_from(&args.ferplus);
        }
        if let Some(targets) = &args.ferplus_targets {
            self.ferplus_targets = Some(targets.parse()?);
        }
        if let Some(labels) = &args.labels {
            self.labels.clone_from(labels);
        }
        let split = match args.split {
            Some(SplitName::Usage) => Split::usage(),
            Some(SplitName::Notebook) => Split::default(),
            None => self.split,
        };
        self.split = split.duplicates(self.split.duplicates_of());
        if let Some(duplicates) = &args.duplicates {
            self.split = self.split.duplicates(duplicates.parse::<Duplicates>()?);
        }
        if let Some(optimizer) = &args.optimizer {
            self.train.optimizer.algorithm = Deserialize::deserialize(Value::from(optimizer.as_str()))?;
        }
        if let Some(precision) = &args.precision {
            self.compute.precision = Deserialize::deserialize(Value::from(precision.as_str()))?;
        }
        self.compute.deterministic |= args.deterministic;
        args.epochs.inspect(|&epochs| self.train.epochs = epochs);
        args.batch_size.inspect(|&size| self.batch_size = size);
        args.learning_rate.inspect(|&rate| self.train.optimizer.learning_rate = rate);
        args.seed.inspect(|&seed| self.train.seed = seed);
        self.check()
    }

    /// These settings with the changes of a configuration file.
    fn changed_by(self, text: &str) -> Result<Self, Failure> {
        let changes: Table = text.parse()?;
        if let Some(Value::Table(model)) = changes.get("model") {
            for field in ["classes", "channels", "height", "width"] {
                if model.contains_key(field) {
                    return Err(format!("model.{field} comes from the data and cannot be set").into());
                }
            }
        }
        let mut merged = Table::try_from(&self)?;
        // Another architecture has other settings.
        if let (Some(Value::Table(model)), Some(Value::Table(base))) =
            (changes.get("model"), merged.get_mut("model"))
            && let Some(name) = model.get("architecture")
            && Some(name) != base.get("architecture")
        {
            *base = Table::from_iter([("architecture".to_owned(), name.clone())]);
        }
        merge(&mut merged, changes);
        Ok(merged.try_into()?)
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.labels.sort_unstable();
        self.labels.dedup();
        self.train.validate()?;
        self.augment.validate()?;
        if let Some(mixup) = &self.mixup {
            mixup.validate()?;
        }
        if self.data.is_some() && self.drawn_faces != 0 {
            return Err("drawn_faces is for runs without --data".into());
        }
        // Training sees pixels of 0 to 1.
        if self.preprocessing.scale != Preprocessing::default().scale {
            return Err("preprocessing.scale must be 1/255: set mean and deviation instead".into());
        }
        if self.ferplus_targets.is_some() && self.ferplus.is_none() {
            return Err(
                "ferplus_targets says what to make of FER+ votes: give them by --ferplus fer2013new.csv"
                    .into(),
            );
        }
        let weights = self.train.loss.class_weights.as_ref().map_or(self.labels.len(), Vec::len);
        if weights != self.labels.len() {
            let classes = self.labels.len();
            return Err(format!("train.loss.class_weights has {weights} values for {classes} classes").into());
        }
        // The model that is saved must see images as it was trained on them.
        let AugmentConfig {
            rescale,
            samplewise_center,
            samplewise_std_normalization,
            featurewise_center,
            featurewise_std_normalization,
            ..
        } = self.augment;
        let standardises = samplewise_center
            || samplewise_std_normalization
            || featurewise_center
            || featurewise_std_normalization;
        if rescale.is_some() || standardises {
            return Err(
                "augment: Keras' rescale and standardisation are not part of the saved model; set mean and deviation \
                 under [preprocessing] instead"
                .into(),
            );
        }
        Ok(())
    }
}

/// Puts the values of `changes` in the place of those in `table`, table by table.
fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}
