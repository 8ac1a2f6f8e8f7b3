//! What a training is made of.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use candle_nn::VarMap;
use fer_metrics::History;
use fer_nn::Network;
use fer_nn::engine::Setup;
use ndarray::ArrayView2;

use crate::batches::{Batches, Stored};
use crate::callback::{Callback, Ended};
use crate::checkpoint::Position;
use crate::device::Device;
use crate::host::Host;
use crate::own::{Own, Rows};
use crate::run::Run;
use crate::runner::Runner;
use crate::state::State;
use crate::{Error, LossConfig, TrainConfig};

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
    /// [`Error::Config`] for a setting that is not allowed.
    pub fn new(config: TrainConfig) -> Result<Self, Error> {
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

    /// Trains `network`, whose variables are `weights`, on the batches of `train`, and measures it on
    /// `validation` after each epoch.
    ///
    /// The variables that receive a gradient are trained; the others are state of the network (moving
    /// statistics), which is kept in checkpoints all the same. Loss and accuracy of an epoch are means over
    /// its samples; those of the training are measured in training mode, while the weights change, and class
    /// weights do not count in the validation, all as in Keras. When it returns, the variables hold the
    /// [average](TrainConfig::average), where one is kept.
    ///
    /// # Errors
    /// When the data, the network, a callback or a file fails, when the loss is no longer finite, when a metric has no
    /// new name, or when the checkpoint to resume is of another training. A checkpoint then holds the state before.
    pub fn fit(
        &self,
        network: &dyn Network,
        weights: &VarMap,
        train: &dyn Batches,
        validation: Option<&dyn Batches>,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Outcome, Error> {
        self.own.validate(&self.config)?;
        let state = State::new(weights, &self.config, &self.own, train.steps())?;
        let (runner, message) = self.runner(network, train, validation)?;
        let mut run = Run {
            trainer: self,
            train,
            validation,
            callbacks,
            state,
            runner,
            history: History::default(),
            position: Position::default(),
            rows: Rows::default(),
            stopped: false,
        };
        run.begin()?;
        message.inspect(|message| run.say(message));
        let ended = run.finish()?;
        Ok(Outcome { history: run.history, ended })
    }

    /// Who does the steps: a device by itself, where the network and the data have one and nothing is asked that it
    /// cannot do, else the host. And what is to be said of that.
    fn runner<'a>(
        &'a self,
        network: &'a dyn Network,
        train: &'a dyn Batches,
        validation: Option<&'a dyn Batches>,
    ) -> Result<(Box<dyn Runner + 'a>, Option<String>), Error> {
        let host = || Box::new(Host::new(network, train, validation, &self.config, &self.own));
        let Some(Stored { samples, treatment }) = train.stored() else { return Ok((host(), None)) };
        let valid = match validation.map(Batches::stored) {
            Some(None) => return Ok((host(), None)),
            Some(Some(valid)) => Some(valid),
            None => None,
        };
        let LossConfig { label_smoothing, class_weights, focal_gamma: _ } = &self.config.loss;
        let setup = Setup {
            train: &samples,
            valid: valid.as_ref().map(|valid| &valid.samples),
            treatment,
            label_smoothing: *label_smoothing,
            class_weights: class_weights.as_deref(),
            seed: self.config.seed,
            rule: self.config.optimizer.rule(),
            decays_all: self.config.optimizer.decay_all,
            averages: self.config.average.is_some(),
        };
        let standardized = |treatment: &fer_nn::engine::Treatment| (treatment.mean, treatment.deviation);
        let beyond = match &valid {
            Some(valid) if standardized(&valid.treatment) != standardized(&treatment) => {
                Some("a validation that is standardised by other numbers".to_owned())
            }
            _ => self.own.beyond_engines(&self.config),
        };
        if let Some(what) = beyond {
            let message = format!(
                "The device does not record the training because of {what}: it runs batch by batch, which is slower."
            );
            // Only where there is something to be missed.
            let is_recorded = matches!(network.engine(&setup), Ok(Some(_)));
            return Ok((host(), is_recorded.then_some(message)));
        }
        Ok(match network.engine(&setup)? {
            None => (host(), None),
            Some(engine) => {
                let steps = valid.as_ref().map_or(0, |valid| valid.samples.steps());
                (Box::new(Device::new(engine, train, samples.steps(), steps)), None)
            }
        })
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}
