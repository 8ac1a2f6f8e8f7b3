//! The folder that a run leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::record::Record;
use crate::{Error, Result, write_file};

/// The names of everything that a run, an evaluation or an import writes.
const CONTENTS: [&str; 31] = [
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
    "confusion_matrix.svg",
    "confusion_matrix.png",
    "roc_curves.svg",
    "roc_curves.png",
    "precision_recall_curves.svg",
    "precision_recall_curves.png",
    "reliability.svg",
    "reliability.png",
    "sample_predictions.svg",
    "sample_predictions.png",
    "report.html",
    "explained_faces.svg",
    "explained_faces.png",
    "training_page.svg",
    "training_page.png",
    "test_report.txt",
    "checkpoint",
    "tensorboard",
];

/// A folder for the files of a run, or for other results.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// A folder to write to, which need not be there yet. Nothing is written or deleted so far.
    ///
    /// # Errors
    /// [`Error::Held`] when it holds a run or results that may not be overwritten.
    pub fn new(path: impl Into<PathBuf>, overwrite: bool) -> Result<Self> {
        let folder = Self(path.into());
        let held = folder.held().next();
        match held {
            Some(file) if !overwrite => Err(Error::Held { path: folder.0, file }),
            _ => Ok(folder),
        }
    }

    /// The folder of a run, and the run's record.
    ///
    /// # Errors
    /// [`Error::Io`] without a `run.json`, [`Error::Format`] with one that no run has written.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Record)> {
        let folder = Self(path.into());
        let path = folder.join("run.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(Error::Io { path, source }),
        };
        match serde_json::from_str(&text) {
            Ok(record) => Ok((folder, record)),
            Err(e) => Err(Error::Format { path, reason: e.to_string() }),
        }
    }

    /// Deletes what an earlier run or other results left here, and nothing else.
    ///
    /// # Errors
    /// [`Error::Io`] with the file that cannot be deleted.
    pub fn clear(&self) -> Result<()> {
        for name in self.held() {
            let path = self.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|source| Error::Io { path, source })?;
        }
        Ok(())
    }

    fn held(&self) -> impl Iterator<Item = &'static str> {
        CONTENTS.into_iter().filter(|name| self.join(name).exists())
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the file `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let path = self.join("run.json");
        match serde_json::to_string_pretty(record) {
            Ok(text) => write_file(path, text + "\n"),
            Err(e) => Err(Error::Format { path, reason: e.to_string() }),
        }
    }
}
