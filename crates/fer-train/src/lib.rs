#![doc = include_str!("../README.md")]

mod average;
mod batches;
mod callback;
mod checkpoint;
mod config;
mod csv_logger;
mod device;
mod early_stopping;
mod error;
mod exact;
mod files;
mod fit;
mod generation;
mod host;
mod learning_rate_finder;
mod loss;
mod model_checkpoint;
mod optimizer;
mod own;
mod progress;
mod reduce_lr;
mod resume;
mod run;
mod runner;
mod schedule;
mod state;
mod tensorboard;
mod trainer;
pub mod weights;

pub use batches::{Batch, Batches, Epoch, FnBatches, Stored, TensorBatches};
pub use callback::{BatchLog, BatchStart, Callback, CallbackState, Control, Ended, MonitorMode};
pub use checkpoint::Checkpoint;
pub use config::{AverageConfig, LossConfig, TrainConfig};
pub use csv_logger::CsvLogger;
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use error::{BoxError, Error, Result};
pub use generation::Generation;
pub use learning_rate_finder::{LearningRateFinder, LearningRateFinderConfig};
pub use loss::{count_correct, cross_entropy};
pub use model_checkpoint::ModelCheckpoint;
pub use optimizer::{Algorithm, Optimizer, OptimizerConfig, OptimizerState};
pub use progress::Progress;
pub use reduce_lr::{ReduceLrOnPlateau, ReduceLrOnPlateauConfig};
pub use schedule::{ScheduleConfig, ScheduleKind};
pub use tensorboard::TensorBoard;
pub use trainer::{Outcome, Trainer};

// Crates that public signatures name, in the version that they name.
pub use candle_core;
pub use fer_metrics::{EpochLog, History};
