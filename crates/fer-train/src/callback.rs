//! What may watch and steer a training.

use candle_nn::VarMap;
use fer_metrics::{EpochLog, History};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{BoxError, weights::Weights};

/// Watches a training and may steer it: Keras' `Callback`.
///
/// Every method but [`name`](Self::name) does nothing unless it is written. The callbacks are called in the
/// order they are given in.
///
/// ```
/// use fer_train::{BoxError, Callback, Control};
///
/// /// Stops when the training accuracy is perfect.
/// struct StopAtPerfect;
///
/// impl Callback for StopAtPerfect {
///     fn name(&self) -> &str {
///         "StopAtPerfect"
///     }
///
///     fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
///         control.stop |= control.log().is_some_and(|log| log.accuracy == 1.0);
///         Ok(())
///     }
/// }
/// ```
pub trait Callback {
    /// The name in messages and checkpoints.
    fn name(&self) -> &str;

    /// Before the first batch. What was seen in an earlier training is to be forgotten here; in a resumed
    /// training [`restore`](Self::restore) follows.
    ///
    /// # Errors
    /// Any error ends the training.
    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        Ok(())
    }

    /// Before each training batch, whose learning rate may be changed here; with [`Control::stop`] set, the batch is not done
    /// unless it is the first of its epoch, and the epoch ends with its validation. On a device that trains by itself the
    /// variables are those of the epoch's beginning, and this comes before as many batches as take about half a second,
    /// unless [`every_batch`](Self::every_batch) says otherwise.
    ///
    /// # Errors
    /// Any error ends the training.
    fn on_batch_begin(&mut self, _control: &mut Control, _batch: &BatchStart) -> Result<(), BoxError> {
        Ok(())
    }

    /// After each training batch; on a device that trains by itself after as many as take about half a second, unless
    /// [`every_batch`](Self::every_batch) says otherwise.
    fn on_batch_end(&mut self, _batch: &BatchLog) {}

    /// Whether a device that trains by itself is to stop after every single batch, for this callback to see it. That is
    /// slower.
    fn every_batch(&self) -> bool {
        false
    }

    /// The same of the batches of the validation.
    fn on_validation_batch_end(&mut self, _batch: &BatchLog) {}

    /// After each epoch and its validation; its log is the last one of the history.
    ///
    /// # Errors
    /// Any error ends the training.
    fn on_epoch_end(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        Ok(())
    }

    /// After the last epoch, or when the training was interrupted.
    ///
    /// # Errors
    /// Any error is that of the training.
    fn on_train_end(&mut self, _control: &mut Control, _ended: Ended) -> Result<(), BoxError> {
        Ok(())
    }

    /// A line for the user from one of the callbacks, this one included.
    fn on_message(&mut self, _message: &str) {}

    /// What a checkpoint must hold for this callback; `None` (default) when that is nothing.
    ///
    /// # Errors
    /// Any error ends the training.
    fn save(&self) -> Result<Option<CallbackState>, BoxError> {
        Ok(None)
    }

    /// Goes back to a state that [`save`](Self::save) gave.
    ///
    /// # Errors
    /// When the state is not one of this callback.
    fn restore(&mut self, _state: CallbackState) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The training as a callback sees and steers it.
pub struct Control<'a> {
    /// The logs of the epochs so far.
    pub history: &'a History,
    /// The network's variables. At the end of an epoch and of the training they hold the
    /// [average](crate::AverageConfig), where one is kept; what is written to them then lasts only if the training ends
    /// with it.
    pub weights: &'a VarMap,
    /// The number of epochs that the training is to have.
    pub epochs: u32,
    /// The learning rate before the [schedule](crate::ScheduleConfig), which multiplies it; may be changed.
    pub learning_rate: f32,
    /// Set to end the training after this epoch; before a batch, without the rest of the epoch's batches.
    pub stop: bool,
    pub(crate) messages: Vec<String>,
}

impl<'a> Control<'a> {
    /// The control of a training in which nothing was said or stopped yet.
    pub fn new(history: &'a History, weights: &'a VarMap, epochs: u32, learning_rate: f32) -> Self {
        Self { history, weights, epochs, learning_rate, stop: false, messages: Vec::new() }
    }

    /// The log of the last epoch.
    pub fn log(&self) -> Option<&'a EpochLog> {
        self.history.epochs.last()
    }

    /// Says a line to the user: every callback gets it, and whoever shows the training prints it.
    pub fn say(&mut self, message: impl Into<String>) {
        self.messages.push(message.into());
    }

    /// The lines said so far.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

/// A training batch that is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStart {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The batch, from 1.
    pub step: u32,
    /// The number of batches in the epoch.
    pub steps: usize,
}

/// How far an epoch, or its validation, is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchLog {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The number of epochs that the training is to have.
    pub epochs: u32,
    /// The batch just done, from 1.
    pub step: u32,
    /// The number of batches in the epoch, or of the validation.
    pub steps: usize,
    /// The number of samples so far.
    pub samples: u64,
    /// Their mean loss.
    pub loss: f64,
    /// Their accuracy in 0..=1.
    pub accuracy: f64,
    /// The learning rate of the last training step, schedule included.
    pub learning_rate: f32,
    /// The seconds since the epoch, or the validation, began.
    pub seconds: f64,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Completed,
    /// A callback stopped it.
    Stopped,
    /// It was interrupted and can be resumed.
    Interrupted {
        /// The epoch it goes on in, from 1.
        epoch: u32,
        /// How many batches of that epoch are done.
        steps: u32,
    },
}

/// What a checkpoint holds for a callback.
#[derive(Clone, Debug, Default)]
pub struct CallbackState {
    /// Its settings. A training is only resumed with the same ones.
    pub settings: serde_json::Value,
    /// What it remembers.
    pub values: serde_json::Value,
    /// The tensors that it remembers.
    pub tensors: Weights,
}

impl CallbackState {
    /// The state of these settings and values, without tensors.
    ///
    /// # Errors
    /// When they have no form in JSON.
    pub fn new(settings: &impl Serialize, values: &impl Serialize) -> Result<Self, BoxError> {
        Ok(Self {
            settings: serde_json::to_value(settings)?,
            values: serde_json::to_value(values)?,
            tensors: Weights::new(),
        })
    }

    /// The values in their type.
    ///
    /// # Errors
    /// When they are of another type.
    pub fn values<T: DeserializeOwned>(&self) -> Result<T, BoxError> {
        Ok(T::deserialize(&self.values)?)
    }
}

/// Whether a metric should fall or rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MonitorMode {
    /// Rises when its name contains `acc`, falls otherwise. Of a metric of one's own whose name contains neither `acc` nor
    /// `loss` it has to be said.
    #[default]
    Auto,
    /// The smaller the better.
    Min,
    /// The larger the better.
    Max,
}

/// A metric that a callback watches.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    metric: String,
    mode: MonitorMode,
    pub(crate) rises: bool,
}

impl Monitor {
    pub(crate) fn new(metric: &str, mode: MonitorMode) -> Self {
        let rises = match mode {
            MonitorMode::Auto => metric.contains("acc"),
            MonitorMode::Min => false,
            MonitorMode::Max => true,
        };
        Self { metric: metric.to_owned(), mode, rises }
    }

    /// Worse than any value.
    pub(crate) fn worst(&self) -> f64 {
        if self.rises { f64::NEG_INFINITY } else { f64::INFINITY }
    }

    /// Whether `a` is better than `b`. NaN is not better than anything.
    pub(crate) fn better(&self, a: f64, b: f64) -> bool {
        if self.rises { a > b } else { a < b }
    }

    /// The metric's value in the last epoch; `None` before the first.
    ///
    /// # Errors
    /// When there is no such metric, or it is not known whether it should fall or rise.
    pub(crate) fn value(&self, control: &Control) -> Result<Option<f64>, BoxError> {
        let Some(log) = control.log() else { return Ok(None) };
        let Self { metric, mode, .. } = self;
        let Some(value) = log.get(metric) else {
            return Err(format!("it watches `{metric}`, but there is only {}", log.names().join(", ")).into());
        };
        let is_own = log.metrics.contains_key(metric) && !metric.contains("acc") && !metric.contains("loss");
        if *mode == MonitorMode::Auto && is_own {
            return Err(
                format!("mode is auto: it must be min or max for `{metric}`, a metric of your own").into()
            );
        }
        Ok(Some(value))
    }
}
