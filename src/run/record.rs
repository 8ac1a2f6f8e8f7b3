//! What `run.json` says.

use fer_data::{Leakage, Source};
use serde::{Deserialize, Serialize};

use crate::run::settings::Settings;

/// `run.json`: how a run was made and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this project.
    pub version: String,
    /// What the run was made from.
    pub settings: Settings,
    /// The data with its md5.
    pub source: Source,
    /// The rows of each side of the split, and the evaluation rows that also occur in training.
    pub split: Leakage,
    /// What became of the rows by FER+.
    pub ferplus: Option<serde_json::Value>,
    /// Images of one grey value that were left out.
    #[serde(default)]
    pub constant: usize,
    /// The device's name.
    pub device: String,
    /// Threads of the CPU.
    pub threads: usize,
    /// What came of it; `None` while the run is unfinished.
    pub result: Option<RunResult>,
}

/// What came of a run. Accuracies are shares of the rows, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// On the validation rows.
    pub valid_accuracy: f64,
    /// On the validation rows without a copy in training.
    pub leak_free_valid_accuracy: f64,
    /// The validation rows that the model is wrong about.
    pub wrong_validation_predictions: u64,
    /// On the test rows, where the split has them.
    pub test_accuracy: Option<f64>,
    /// On the test rows without a copy in training.
    pub leak_free_test_accuracy: Option<f64>,
    /// On the validation rows by the views of the settings, where they are more than one.
    #[serde(default)]
    pub valid_accuracy_by_views: Option<f64>,
    /// On the test rows by these views.
    #[serde(default)]
    pub test_accuracy_by_views: Option<f64>,
}
