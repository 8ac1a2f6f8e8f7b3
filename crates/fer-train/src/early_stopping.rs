//! Stopping when a metric no longer improves.

use serde::{Deserialize, Serialize};

use crate::callback::{Callback, CallbackState, Control, Ended, Monitor, MonitorMode};
use crate::weights::{self, Weights};
use crate::{BoxError, Generation, exact};

/// The settings of [`EarlyStopping`]. The defaults are the notebook's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// The metric to watch: a name of [`EpochLog`](fer_metrics::EpochLog), metrics of one's own included. Default `val_accuracy` (Keras:
    /// `val_loss`).
    pub monitor: String,
    /// Whether it should fall or rise. Default [`MonitorMode::Auto`].
    pub mode: MonitorMode,
    /// The change that counts as an improvement; its sign does not matter. Default 0.00005 (Keras: 0).
    pub min_delta: f64,
    /// How many epochs without improvement are one too many. Default 11 (Keras: 0).
    pub patience: u32,
    /// The value that has to be surpassed. Default none.
    pub baseline: Option<f64>,
    /// Whether the network gets its best weights back. Default true (Keras: false).
    pub restore_best_weights: bool,
    /// Whose behaviour. In Keras 2, the notebook's (default), the best weights come back only when this callback
    /// itself stops the training, the baseline is the first best value, and there is nothing to bring back
    /// when it was never surpassed. In Keras 3 they come back whenever the training ends, values under the
    /// baseline count as best too but do not restart the patience, and the first epoch never stops.
    pub generation: Generation,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self {
            monitor: "val_accuracy".into(),
            mode: MonitorMode::Auto,
            min_delta: 5e-5,
            patience: 11,
            baseline: None,
            restore_best_weights: true,
            generation: Generation::Keras2,
        }
    }
}

/// Stops the training when a metric no longer improves, and brings the best weights back: Keras'
/// `EarlyStopping`. NaN never improves.
#[derive(Debug)]
pub struct EarlyStopping {
    config: EarlyStoppingConfig,
    monitor: Monitor,
    state: State,
    best_weights: Option<Weights>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct State {
    #[serde(with = "exact")]
    best: f64,
    best_epoch: Option<usize>,
    wait: u32,
    stopped_epoch: Option<usize>,
}

impl EarlyStopping {
    /// A callback that has seen no epoch yet.
    pub fn new(config: EarlyStoppingConfig) -> Self {
        let monitor = Monitor::new(&config.monitor, config.mode);
        let state = Self::start(&config, &monitor);
        Self { config, monitor, state, best_weights: None }
    }

    /// The epoch, from 1, with the best value so far.
    pub fn best_epoch(&self) -> Option<usize> {
        self.state.best_epoch
    }

    /// The epoch, from 1, after which this callback stopped the training.
    pub fn stopped_epoch(&self) -> Option<usize> {
        self.state.stopped_epoch
    }

    fn start(config: &EarlyStoppingConfig, monitor: &Monitor) -> State {
        let best = match (config.generation, config.baseline) {
            (Generation::Keras2, Some(baseline)) => baseline,
            _ => monitor.worst(),
        };
        State { best, best_epoch: None, wait: 0, stopped_epoch: None }
    }

    fn improves(&self, value: f64, on: f64) -> bool {
        let delta = self.config.min_delta.abs();
        self.monitor.better(if self.monitor.rises { value - delta } else { value + delta }, on)
    }

    fn remember(&mut self, control: &Control, epoch: usize) -> Result<(), BoxError> {
        self.state.best_epoch = Some(epoch);
        if self.config.restore_best_weights {
            self.best_weights = Some(weights::snapshot(control.weights)?);
        }
        Ok(())
    }

    fn bring_back(&self, control: &mut Control) -> Result<(), BoxError> {
        if let Some(best) = &self.best_weights {
            control.say("Restoring model weights from the end of the best epoch.");
            weights::restore(control.weights, best)?;
        }
        Ok(())
    }
}

impl Callback for EarlyStopping {
    fn name(&self) -> &str {
        "EarlyStopping"
    }

    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        *self = Self::new(self.config.clone());
        Ok(())
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        let Some(value) = self.monitor.value(control)? else { return Ok(()) };
        let epoch = control.history.epochs.len();
        let keras3 = self.config.generation == Generation::Keras3;
        if keras3 && self.state.best_epoch.is_none() {
            self.remember(control, epoch)?;
        }
        self.state.wait += 1;
        if self.improves(value, self.state.best) {
            self.state.best = value;
            self.remember(control, epoch)?;
            let baseline = self.config.baseline.filter(|_| keras3);
            if baseline.is_none_or(|baseline| self.improves(value, baseline)) {
                self.state.wait = 0;
            }
        } else if self.state.wait >= self.config.patience && !(keras3 && epoch == 1) {
            self.state.stopped_epoch = Some(epoch);
            control.stop = true;
            if !keras3 {
                self.bring_back(control)?;
            }
        }
        Ok(())
    }

    fn on_train_end(&mut self, control: &mut Control, ended: Ended) -> Result<(), BoxError> {
        if let Some(epoch) = self.state.stopped_epoch {
            control.say(format!("Epoch {epoch:05}: early stopping"));
        }
        let over = !matches!(ended, Ended::Interrupted { .. });
        if over && self.config.generation == Generation::Keras3 {
            self.bring_back(control)?;
        }
        Ok(())
    }

    fn save(&self) -> Result<Option<CallbackState>, BoxError> {
        let mut state = CallbackState::new(&self.config, &self.state)?;
        state.tensors = self.best_weights.clone().unwrap_or_default();
        Ok(Some(state))
    }

    fn restore(&mut self, state: CallbackState) -> Result<(), BoxError> {
        self.state = state.values()?;
        self.best_weights = Some(state.tensors).filter(|tensors| !tensors.is_empty());
        Ok(())
    }
}
