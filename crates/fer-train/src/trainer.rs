//! What a training is made of.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use fer_metrics::History;
use ndarray::ArrayView2;

use crate::callback::Ended;
use crate::own::Own;
use crate::{Result, TrainConfig};

/// Trains networks.
#[derive(Clone, Debug)]
pub struct Trainer {
    pub(crate) config: TrainConfig,
    pub(crate) own: Own,
    pub(crate) checkpoint: Option<PathBuf>,
    pub(crate) resume: bool,
    interrupt: Arc<AtomicBool>,
}

/// What a training gave, beside the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The logs of all epochs, those before a resumption included.
    pub history: History,
    /// Why it ended.
    pub ended: Ended,
}

impl Trainer {
    /// A trainer with checked settings.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a setting that is not allowed.
    pub fn new(config: TrainConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, own: Own::default(), checkpoint: None, resume: false, interrupt: Arc::default() })
    }

    /// Keeps the state of the training in the file `path`: at its beginning, after each epoch and when it is
    /// interrupted. A crash at any moment leaves a whole [`Checkpoint`](crate::Checkpoint).
    pub fn checkpoint(self, path: impl Into<PathBuf>) -> Self {
        Self { checkpoint: Some(path.into()), ..self }
    }

    /// Whether to begin where the checkpoint is, instead of anew. The training then goes on as if it had
    /// never stopped: on the CPU the final weights are the same to the bit.
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// Ends the training after the present batch once the flag is set, with [`Ended::Interrupted`]; on a device that
    /// trains by itself, within about half a second.
    pub fn interrupt(self, flag: Arc<AtomicBool>) -> Self {
        Self { interrupt: flag, ..self }
    }

    /// Minimises a loss of your own in place of [`TrainConfig::loss`], which must be left at its default.
    ///
    /// It is given the logits `(batch, classes)` and the targets, the share of every class in each sample, in the same
    /// shape, type and device; it gives the mean loss of the batch, a scalar through which gradients pass. It is also the
    /// loss of the validation. A device that would train by itself then goes through the network's own passes, which
    /// is slower.
    pub fn loss(
        mut self,
        loss: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        self.own.loss = Some(Arc::new(loss));
        self
    }

    /// Measures something of your own, over all rows of an epoch: it is given their logits and targets, both
    /// `(rows, classes)`, the targets as shares; those of the training as they were seen while training.
    ///
    /// Its values are `name` and `val_name` in the history, the tables, the curves and the figures, and can be watched by
    /// callbacks, which are then to be told whether it should fall or rise. Ready ones are [`fer_metrics::macro_f1`] and
    /// [`fer_metrics::balanced_accuracy`]. A device that would train by itself then goes through the network's own
    /// passes, which is slower.
    pub fn metric(
        mut self,
        name: impl Into<String>,
        metric: impl Fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>) -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.own.metrics.push((name.into(), Arc::new(metric)));
        self
    }

    /// Multiplies the learning rate by a factor of your own, in place of
    /// [`ScheduleConfig::kind`](crate::ScheduleConfig::kind): it is given the step, from 0 over the whole training, and the
    /// number of steps that the training is to have. The warm-up of [`TrainConfig::schedule`] is multiplied onto it.
    pub fn schedule(mut self, schedule: impl Fn(u64, u64) -> f64 + Send + Sync + 'static) -> Self {
        self.own.schedule = Some(Arc::new(schedule));
        self
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}
