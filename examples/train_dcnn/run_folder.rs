//! The folder that a run leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use fer::data::{Leakage, Source};
use fer::write_file;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::settings::Settings;

/// The names of everything that a run writes.
const CONTENTS: [&str; 18] = [
    "run.json",
    "model.safetensors",
    "model.toml",
    "history.csv",
    "split.csv",
    "predictions.csv",
    "classification_report.txt",
    "epoch_history_dcnn.svg",
    "epoch_history_dcnn.png",
    "performance_dist.svg",
    "performance_dist.png",
    "confusion_matrix_dcnn.svg",
    "confusion_matrix_dcnn.png",
    "sample_predictions.svg",
    "sample_predictions.png",
    "test_report.txt",
    "checkpoint",
    "tensorboard",
];

pub struct RunFolder(PathBuf);

/// `run.json`: how the run was made and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this project.
    pub version: String,
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
    pub device: String,
    pub threads: usize,
    /// What came of it; `None` while the run is unfinished.
    pub result: Option<RunResult>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds of all epochs.
    pub seconds: f64,
    pub valid_accuracy: f64,
    /// On the validation rows without a copy in training.
    pub leak_free_valid_accuracy: f64,
    pub wrong_validation_predictions: u64,
    pub test_accuracy: Option<f64>,
    pub leak_free_test_accuracy: Option<f64>,
    /// By the views of the settings, where they are more than one.
    #[serde(default)]
    pub valid_accuracy_by_views: Option<f64>,
    #[serde(default)]
    pub test_accuracy_by_views: Option<f64>,
}

impl RunFolder {
    /// The folder of a new run. One that holds a run is refused unless that may be overwritten.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        let folder = Self(path.to_owned());
        if overwrite || folder.held().next().is_none() {
            return Ok(folder);
        }
        Err(format!(
            "{} already holds a run; --resume goes on with it, --overwrite deletes it, --out names another folder",
            path.display(),
        )
        .into())
    }

    /// Makes the folder, without what an earlier run left in it.
    pub fn clear(&self) -> Result<(), Failure> {
        for old in self.held() {
            let removed = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            removed.map_err(|e| format!("{}: {e}", old.display()))?;
        }
        let checkpoint = self.join("checkpoint");
        Ok(fs::create_dir_all(&checkpoint).map_err(|e| format!("{}: {e}", checkpoint.display()))?)
    }

    fn held(&self) -> impl Iterator<Item = PathBuf> {
        CONTENTS.iter().map(|name| self.join(name)).filter(|path| path.exists())
    }

    /// The folder of a run to go on with, and its record.
    pub fn open(path: &Path) -> Result<(Self, Record), Failure> {
        let folder = Self(path.to_owned());
        let record = folder.join("run.json");
        let text = fs::read_to_string(&record).map_err(|e| format!("{}: {e}", record.display()))?;
        let record = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", record.display()))?;
        Ok((folder, record))
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write_record(&self, record: &Record) -> Result<(), Failure> {
        Ok(write_file(self.join("run.json"), serde_json::to_string_pretty(record)? + "\n")?)
    }
}
