//! One training: who does its steps, and the loop.

use candle_nn::VarMap;
use fer_metrics::History;
use fer_nn::Network;
use fer_nn::engine::{EpochPlan, Setup, Treatment};

use crate::batches::{Batches, Stored};
use crate::callback::Callback;
use crate::checkpoint::Position;
use crate::device::Device;
use crate::host::Host;
use crate::own::Rows;
use crate::run::Run;
use crate::runner::Runner;
use crate::state::State;
use crate::{LossConfig, Outcome, Result, Trainer};

impl Trainer {
    /// Trains `network`, whose variables are `weights`, on the batches of `train`, and measures it on
    /// `validation` after each epoch.
    ///
    /// The variables that receive a gradient are trained; the others are state of the network (moving
    /// statistics), which is kept in checkpoints all the same. Loss and accuracy of an epoch are means over
    /// its samples; those of the training are measured in training mode, while the weights change, and class
    /// weights do not count in the validation, all as in Keras. When it returns, the variables hold the
    /// [average](crate::TrainConfig::average), where one is kept.
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
    ) -> Result<Outcome> {
        self.own.validate(&self.config)?;
        let state = State::new(weights, &self.config, &self.own, train.steps())?;
        let every_batch = callbacks.iter().any(|callback| callback.every_batch());
        let (runner, message) = self.runner(network, train, validation, every_batch)?;
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
        every_batch: bool,
    ) -> Result<(Box<dyn Runner + 'a>, Option<String>)> {
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
        let standardized = |treatment: &Treatment| (treatment.mean, treatment.deviation);
        let changed = |validation: &dyn Batches| {
            let EpochPlan { changes, mixes, .. } = validation.plan(0);
            !changes.is_empty() || !mixes.is_empty()
        };
        let beyond = match &valid {
            Some(valid) if standardized(&valid.treatment) != standardized(&treatment) => {
                Some("a validation that is standardised by other numbers".to_owned())
            }
            _ if validation.is_some_and(changed) => Some("a validation whose images are changed".to_owned()),
            _ => self.own.beyond_engines(&self.config),
        };
        if let Some(what) = beyond {
            let message = format!(
                "The device does not record the training because of {what}: it runs batch by batch, which is slower."
            );
            // Only where there is something to be missed.
            let is_recorded = network.has_engine();
            return Ok((host(), is_recorded.then_some(message)));
        }
        Ok(match network.engine(&setup)? {
            None => (host(), None),
            Some(engine) => {
                let steps = valid.as_ref().map_or(0, |valid| valid.samples.steps());
                (Box::new(Device::new(engine, train, samples.steps(), steps, every_batch)), None)
            }
        })
    }
}
