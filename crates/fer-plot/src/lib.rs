#![doc = include_str!("../README.md")]

mod annotate;
mod chart;
mod class_counts;
mod confusion_matrix;
mod curves;
mod epoch_history;
mod error;
mod faces;
mod figure;
mod font;
mod heat;
mod learning_rates;
mod lines;
mod page;
mod performance_dist;
mod png;
mod scale;
mod shape;
mod svg;
mod theme;
mod timeline;

pub use annotate::{Annotation, annotated};
pub use class_counts::class_counts;
pub use confusion_matrix::confusion_matrix;
pub use curves::{precision_recall_curves, reliability_diagram, roc_curves};
pub use epoch_history::epoch_history;
pub use error::{Error, Result};
pub use faces::{ExplainedFace, Prediction, explained_faces, sample_grid, sample_predictions};
pub use figure::Figure;
pub use heat::{Heat, heated};
pub use learning_rates::learning_rates;
pub use lines::lines;
pub use page::page;
pub use performance_dist::performance_dist;
pub use timeline::timeline;

// Crates that public signatures name, in the version that they name.
pub use {image, ndarray};
