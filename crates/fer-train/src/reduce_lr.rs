//! Lowering the learning rate when a metric no longer improves.

use serde::{Deserialize, Serialize};

use crate::callback::{Callback, CallbackState, Control, Monitor, MonitorMode};
use crate::error::require;
use crate::{BoxError, Result, exact};

/// The settings of [`ReduceLrOnPlateau`]. The defaults are the notebook's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReduceLrOnPlateauConfig {
    /// The metric to watch: a name of [`EpochLog`](fer_metrics::EpochLog), metrics of one's own included. Default `val_accuracy` (Keras:
    /// `val_loss`).
    pub monitor: String,
    /// Whether it should fall or rise. Default [`MonitorMode::Auto`].
    pub mode: MonitorMode,
    /// What the learning rate is multiplied by, at least 0 and under 1. Default 0.5 (Keras: 0.1).
    pub factor: f64,
    /// How many epochs without improvement are one too many. Default 7 (Keras: 10).
    pub patience: u32,
    /// The change that counts as an improvement. Default 0.0001.
    pub min_delta: f64,
    /// How many epochs after a reduction are not counted. Default 0.
    pub cooldown: u32,
    /// The learning rate does not fall under this. Default 1e-7 (Keras: 0).
    pub min_lr: f64,
}

impl Default for ReduceLrOnPlateauConfig {
    fn default() -> Self {
        Self {
            monitor: "val_accuracy".into(),
            mode: MonitorMode::Auto,
            factor: 0.5,
            patience: 7,
            min_delta: 1e-4,
            cooldown: 0,
            min_lr: 1e-7,
        }
    }
}

/// Lowers the learning rate when a metric no longer improves: Keras' `ReduceLROnPlateau`. NaN never improves.
///
/// It changes the learning rate that the [schedule](crate::ScheduleConfig) multiplies, so that both together give their
/// product; `min_lr` and the message are of the rate before the schedule. The learning rate is rounded to `f32`, as in
/// Keras, whose message prints the value before that.
#[derive(Debug)]
pub struct ReduceLrOnPlateau {
    config: ReduceLrOnPlateauConfig,
    monitor: Monitor,
    state: State,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct State {
    #[serde(with = "exact")]
    best: f64,
    wait: u32,
    cooldown: u32,
}

impl ReduceLrOnPlateau {
    /// A callback that has seen no epoch yet.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a factor outside 0..1, or a `min_delta` or `min_lr` under 0.
    pub fn new(config: ReduceLrOnPlateauConfig) -> Result<Self> {
        let ReduceLrOnPlateauConfig { factor, min_delta, min_lr, .. } = config;
        require((0.0..1.0).contains(&factor), "factor", factor, "at least 0 and under 1")?;
        require(min_delta >= 0.0, "min_delta", min_delta, "at least 0")?;
        require(min_lr >= 0.0, "min_lr", min_lr, "at least 0")?;
        let monitor = Monitor::new(&config.monitor, config.mode);
        let state = State { best: monitor.worst(), wait: 0, cooldown: 0 };
        Ok(Self { config, monitor, state })
    }
}

impl Callback for ReduceLrOnPlateau {
    fn name(&self) -> &str {
        "ReduceLROnPlateau"
    }

    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        self.monitor = Monitor::new(&self.config.monitor, self.config.mode);
        self.state = State { best: self.monitor.worst(), wait: 0, cooldown: 0 };
        Ok(())
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        let Some(value) = self.monitor.value(control)? else { return Ok(()) };
        let State { best, wait, cooldown } = &mut self.state;
        if *cooldown > 0 {
            *cooldown -= 1;
            *wait = 0;
        }
        let delta = if self.monitor.rises { self.config.min_delta } else { -self.config.min_delta };
        if self.monitor.better(value, *best + delta) {
            *best = value;
            *wait = 0;
        } else if *cooldown == 0 {
            *wait += 1;
            if *wait >= self.config.patience && control.learning_rate > self.config.min_lr as f32 {
                let reduced = f64::from(control.learning_rate) * self.config.factor;
                let reduced = reduced.max(self.config.min_lr);
                control.learning_rate = reduced as f32;
                *cooldown = self.config.cooldown;
                *wait = 0;
                control.say(format!(
                    "Epoch {:05}: ReduceLROnPlateau reducing learning rate to {}.",
                    control.history.epochs.len(),
                    python_float(reduced)
                ));
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<Option<CallbackState>, BoxError> {
        CallbackState::new(&self.config, &self.state).map(Some)
    }

    fn restore(&mut self, state: CallbackState) -> Result<(), BoxError> {
        self.state = state.values()?;
        Ok(())
    }
}

/// The number as Python prints it.
fn python_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => match exponent.parse::<i32>() {
            Ok(-4..16) => format!("{number:?}"),
            Ok(exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{digits}e{sign}{:02}", exponent.abs())
            }
            Err(_) => scientific,
        },
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_python_prints_them() {
        let printed = [0.0005000000237487257, 1e-7, 1.25e-5, 1e-4, 0.5, 1.0, 1e15, 1e16, 2.5e-10, 0.0];
        let expected = [
            "0.0005000000237487257",
            "1e-07",
            "1.25e-05",
            "0.0001",
            "0.5",
            "1.0",
            "1000000000000000.0",
            "1e+16",
            "2.5e-10",
            "0.0",
        ];
        assert_eq!(printed.map(python_float), expected);
    }

    #[test]
    fn a_factor_of_one_is_refused() {
        let config = ReduceLrOnPlateauConfig { factor: 1.0, ..Default::default() };
        let error = ReduceLrOnPlateau::new(config).unwrap_err();
        assert_eq!(error.to_string(), "factor is 1: it must be at least 0 and under 1");
    }
}
