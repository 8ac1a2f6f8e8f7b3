//! What training logged, epoch by epoch.

use serde::{Deserialize, Serialize};

/// The log of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLog {
    /// The epoch's number, from 1.
    pub epoch: usize,
    /// The sample-weighted mean training loss, measured in training mode.
    pub loss: f64,
    /// The training accuracy in 0..=1, measured in training mode.
    pub accuracy: f64,
    /// The validation loss; `None` when there was no validation.
    pub val_loss: Option<f64>,
    /// The validation accuracy in 0..=1; `None` when there was no validation.
    pub val_accuracy: Option<f64>,
    /// The learning rate that the epoch was trained with.
    pub learning_rate: f64,
    /// The seconds that the whole epoch took, validation included.
    pub seconds: f64,
}

impl EpochLog {
    /// The names that [`get`](Self::get) knows, in the order of `history.csv`.
    pub const NAMES: [&str; 6] = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"];

    /// The value logged under this name; `None` when the epoch has no such value.
    pub fn get(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            "accuracy" => Some(self.accuracy),
            "val_loss" => self.val_loss,
            "val_accuracy" => self.val_accuracy,
            "learning_rate" => Some(self.learning_rate),
            "seconds" => Some(self.seconds),
            _ => None,
        }
    }
}

/// The logs of a training, first epoch first: Keras' `History`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One log an epoch.
    pub epochs: Vec<EpochLog>,
}

impl History {
    /// The values logged under this name, epoch by epoch; epochs without it are left out.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.epochs.iter().filter_map(|epoch| epoch.get(name)).collect()
    }
}
