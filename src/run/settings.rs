//! What a run is made from.

use std::path::PathBuf;

use fer_augment::{AugmentConfig, Mixup};
use fer_data::{Classes, FerPlusTargets, ReadConfig, Split};
use fer_model::{Architecture, BlockConfig, DcnnConfig, Preprocessing, Views};
use fer_nn::Compute;
use fer_train::{EarlyStoppingConfig, ReduceLrOnPlateauConfig, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Everything that a run is made from, as `run.json` records it and a recipe may give it. The default is the notebook's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data, any file or folder that [`Dataset::open`](fer_data::Dataset::open) reads; `None` for drawn faces.
    pub data: Option<PathBuf>,
    /// How the data is read where it is not as it should be.
    #[serde(default)]
    pub read: ReadConfig,
    /// How many faces are drawn when there is no data; 0 with data.
    pub drawn_faces: usize,
    /// The votes of FER+.
    pub ferplus: Option<PathBuf>,
    /// What is made of the votes, in 8 classes; `None` relabels by their majority in 7.
    #[serde(default)]
    pub ferplus_targets: Option<FerPlusTargets>,
    /// The labels to tell apart, by their places among the classes; an empty list for all. Where they are not given, they are
    /// the notebook's (3, 4, 6) of FER2013's classes, and all of others. A run sorts them, and the class weights with them.
    #[serde(default)]
    pub labels: Option<Vec<u32>>,
    /// Leaves out images of one grey value.
    #[serde(default)]
    pub drop_constant: bool,
    /// Which rows are for training, validation and test.
    pub split: Split,
    /// Images in a step, at least 1.
    pub batch_size: usize,
    /// Leaves out the last batch of an epoch when it is not full.
    #[serde(default)]
    pub drop_last: bool,
    /// What is done to each image of the training. Keras' rescaling and standardisation are not allowed here, for the saved
    /// model would not repeat them: that is `preprocessing`.
    pub augment: AugmentConfig,
    /// Blends the images of a batch and their targets.
    #[serde(default)]
    pub mixup: Option<Mixup>,
    /// What the saved model does to an image, and the training after augmentation; the scale must be 1/255.
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
    /// When training ends before its last epoch.
    pub early_stopping: EarlyStoppingConfig,
    /// When the learning rate is lowered.
    pub reduce_lr: ReduceLrOnPlateauConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: None,
            read: ReadConfig::default(),
            drawn_faces: 0,
            ferplus: None,
            ferplus_targets: None,
            labels: None,
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
}

impl Settings {
    /// A narrow network on 4000 drawn faces: small enough for a minute on two cores.
    pub fn drawn() -> Self {
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
            ..Self::default()
        }
    }

    /// Whether a run of these settings can be gone on with under `other` ones.
    pub(super) fn check_resumed(&self, other: &Self) -> Result<()> {
        let unchanged = Self {
            data: other.data.clone(),
            ferplus: other.ferplus.clone(),
            train: TrainConfig { epochs: other.train.epochs, ..self.train.clone() },
            ..self.clone()
        };
        if *other == unchanged {
            return Ok(());
        }
        Err(Error::Settings(
            "a run is resumed with its own settings; only the number of epochs, threads, device and where the data \
             lies may differ"
                .into(),
        ))
    }

    /// The labels to tell apart; none for all.
    pub fn chosen_labels(&self) -> Vec<u32> {
        match (&self.labels, &self.read.classes) {
            (Some(labels), _) => labels.clone(),
            (None, Classes::Fer2013) => vec![3, 4, 6],
            (None, _) => Vec::new(),
        }
    }

    /// Sorts the labels, as the classes are, and with them the weights that were given in their order.
    fn sort_labels(&mut self) {
        let mut labels = self.chosen_labels();
        let weights = self.train.loss.class_weights.as_mut().filter(|weights| weights.len() == labels.len());
        if let Some(weights) = weights {
            let mut pairs: Vec<(u32, f64)> = labels.iter().copied().zip(weights.iter().copied()).collect();
            pairs.sort_by_key(|(label, _)| *label);
            *weights = pairs.into_iter().map(|(_, weight)| weight).collect();
        }
        labels.sort_unstable();
        labels.dedup();
        self.labels = Some(labels);
    }

    /// Sorts the labels and checks that the settings go together.
    ///
    /// # Errors
    /// The first setting that is out of range or does not fit the others.
    pub(super) fn check(&mut self) -> Result<()> {
        self.sort_labels();
        self.train.validate()?;
        self.augment.validate()?;
        if let Some(mixup) = &self.mixup {
            mixup.validate()?;
        }
        let require = |holds: bool, problem: &str| match holds {
            true => Ok(()),
            false => Err(Error::Settings(problem.to_owned())),
        };
        require(
            self.data.is_none() || self.drawn_faces == 0,
            "drawn_faces is for runs without data (--data)",
        )?;
        // Training sees pixels of 0 to 1.
        require(
            self.preprocessing.scale == Preprocessing::default().scale,
            "preprocessing.scale must be 1/255: set mean and deviation instead",
        )?;
        require(
            self.ferplus_targets.is_none() || self.ferplus.is_some(),
            "ferplus_targets says what to make of FER+ votes: give them by --ferplus fer2013new.csv",
        )?;
        let classes = self.chosen_labels().len();
        let weights = self.train.loss.class_weights.as_ref().map_or(classes, Vec::len);
        require(
            // How many all classes are is known when the data is read.
            classes == 0 || weights == classes,
            &format!("train.loss.class_weights has {weights} values for {classes} classes"),
        )?;
        // The model that is saved must see images as it was trained on them.
        let augment = &self.augment;
        let standardises = augment.samplewise_center
            || augment.samplewise_std_normalization
            || augment.featurewise_center
            || augment.featurewise_std_normalization;
        require(
            augment.rescale.is_none() && !standardises,
            "augment: Keras' rescale and standardisation are not part of the saved model; set mean and deviation \
             under [preprocessing] instead",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_weights_keep_to_the_labels_that_they_were_given_for() {
        let mut settings = Settings { labels: Some(vec![6, 3, 4]), ..Settings::default() };
        settings.train.loss.class_weights = Some(vec![0.6, 0.3, 0.4]);
        settings.check().unwrap();
        assert_eq!(settings.labels, Some(vec![3, 4, 6]));
        assert_eq!(settings.train.loss.class_weights, Some(vec![0.3, 0.4, 0.6]));
        settings.train.loss.class_weights = Some(vec![1.0; 2]);
        assert!(settings.check().unwrap_err().to_string().contains("has 2 values for 3 classes"));
    }
}
