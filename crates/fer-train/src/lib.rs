#![doc = include_str!("../README.md")]

mod batches;
mod callback;
mod checkpoint;
mod config;
mod csv_logger;
mod early_stopping;
mod error;
mod exact;
mod files;
mod loss;
mod model_checkpoint;
mod optimizer;
mod progress;
mod reduce_lr;
mod tensorboard;
mod trainer;
pub mod weights;

pub use batches::{Batch, Batches, Epoch, Stored, TensorBatches};
pub use callback::{BatchLog, Callback, CallbackState, Control, Ended, MonitorMode};
pub use checkpoint::Checkpoint;
pub use config::{Algorithm, Generation, LossConfig, OptimizerConfig, TrainConfig};
pub use csv_logger::CsvLogger;
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use error::{BoxError, Error};
pub use loss::{count_correct, cross_entropy};
pub use model_checkpoint::ModelCheckpoint;
pub use optimizer::{Optimizer, OptimizerState};
pub use progress::Progress;
pub use reduce_lr::{ReduceLrOnPlateau, ReduceLrOnPlateauConfig};
pub use tensorboard::TensorBoard;
pub use trainer::{Outcome, Trainer};
