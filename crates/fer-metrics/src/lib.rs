#![doc = include_str!("../README.md")]

mod confusion;
mod curves;
mod error;
mod history;
mod probabilities;
mod report;
mod scores;
mod soft;

pub use confusion::{ConfusionMatrix, accuracy};
pub use curves::{
    PrecisionRecallCurve, ReliabilityBin, RocCurve, precision_recall_curve, reliability, roc_curve,
};
pub use error::{Error, Result};
pub use history::{EpochLog, History};
pub use probabilities::{
    RocAuc, calibration_error, log_loss, predicted_labels, roc_auc, temperature, top_k_accuracy,
};
pub use report::{ClassScores, Report, Scores};
pub use soft::{balanced_accuracy, macro_f1};

// Crates that public signatures name, in the version that they name.
pub use ndarray;
