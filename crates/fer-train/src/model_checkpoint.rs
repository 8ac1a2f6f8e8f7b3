//! Writing the weights of the last or the best epoch.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::callback::{Callback, CallbackState, Control, Monitor, MonitorMode};
use crate::{BoxError, exact, weights};

/// Writes the network's variables, or their [average](crate::AverageConfig), as safetensors after each epoch, or after each that is the best so far:
/// Keras' `ModelCheckpoint`. To go on training, use [`Trainer::checkpoint`](crate::Trainer::checkpoint).
#[derive(Debug)]
pub struct ModelCheckpoint {
    path: PathBuf,
    monitor: Option<Monitor>,
    settings: Settings,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Settings {
    best: Option<(String, MonitorMode)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct State {
    #[serde(with = "exact")]
    best: f64,
}

impl ModelCheckpoint {
    /// The weights of the last epoch, in the file `path`.
    pub fn last(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            monitor: None,
            settings: Settings { best: None },
            state: State { best: f64::NAN },
        }
    }

    /// The weights of the epoch in which the metric `monitor` was best, in the file `path`. Of equal epochs
    /// it is the first.
    pub fn best(path: impl Into<PathBuf>, monitor: &str, mode: MonitorMode) -> Self {
        let settings = Settings { best: Some((monitor.to_owned(), mode)) };
        let monitor = Monitor::new(monitor, mode);
        let state = State { best: monitor.worst() };
        Self { path: path.into(), monitor: Some(monitor), settings, state }
    }
}

impl Callback for ModelCheckpoint {
    fn name(&self) -> &str {
        "ModelCheckpoint"
    }

    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        if let Some(monitor) = &self.monitor {
            self.state.best = monitor.worst();
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        if let Some(monitor) = &mut self.monitor {
            match monitor.value(control)? {
                Some(value) if monitor.better(value, self.state.best) => self.state.best = value,
                _ => return Ok(()),
            }
        }
        Ok(weights::save(control.weights, &self.path)?)
    }

    fn save(&self) -> Result<Option<CallbackState>, BoxError> {
        CallbackState::new(&self.settings, &self.state).map(Some)
    }

    fn restore(&mut self, state: CallbackState) -> Result<(), BoxError> {
        self.state = state.values()?;
        Ok(())
    }
}
