//! What the learning rate is multiplied by, step by step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::require;

/// The course of a [`ScheduleConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// 1 all along.
    #[default]
    Constant,
    /// Multiplied by [`gamma`](ScheduleConfig::gamma) every [`step_epochs`](ScheduleConfig::step_epochs): PyTorch's
    /// `StepLR`.
    Step,
    /// Half a cosine over the whole training, from 1 at its first step towards
    /// [`final_part`](ScheduleConfig::final_part) after its last (Loshchilov and Hutter 2017).
    Cosine,
    /// Up from `1/div_factor` to 1 and down to `1/(div_factor·final_div_factor)`, along cosines: PyTorch's `OneCycleLR`
    /// of the learning rate alone, the momentum stays (Smith and Topin 2018).
    OneCycle,
}

/// How the learning rate goes over a training. Each step's rate is the optimiser's learning rate times the factor of
/// this schedule.
///
/// [`ReduceLrOnPlateau`](crate::ReduceLrOnPlateau), and whoever sets
/// [`Control::learning_rate`](crate::Control::learning_rate), changes the learning rate that is multiplied: both together
/// give their product.
///
/// ```
/// use fer_train::{ScheduleConfig, ScheduleKind};
///
/// let cosine = ScheduleConfig { kind: ScheduleKind::Cosine, warmup_epochs: 1.0, ..Default::default() };
/// let factors: Vec<f64> = (0..4).map(|step| cosine.factor(step, 2, 4)).collect();
/// // Half a cosine is 1, 0.854, 0.5, 0.146; the warm-up is 0, ½, 1, 1.
/// let expected = [0.0, 0.427, 0.5, 0.146];
/// assert!(factors.iter().zip(expected).all(|(factor, expected)| (factor - expected).abs() < 1e-3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The course. Default constant.
    pub kind: ScheduleKind,
    /// Over so many epochs the factor is also multiplied by a line from 0, which the first step has, to 1: by
    /// `min(1, step/(warmup_epochs·steps of an epoch))`. At least 0; default 0, none.
    pub warmup_epochs: f64,
    /// Of `step`: after how many epochs it falls. At least 1; default 30.
    pub step_epochs: u32,
    /// Of `step`: what it is multiplied by, over 0 and at most 1. Default 0.1.
    pub gamma: f64,
    /// Of `cosine`: where it ends, 0 to 1. Default 0.
    pub final_part: f64,
    /// Of `one_cycle`: the part of the training in which it rises, over 0 and under 1. Default 0.3.
    pub pct_start: f64,
    /// Of `one_cycle`: what 1 is divided by at the beginning, over 0. Default 25.
    pub div_factor: f64,
    /// Of `one_cycle`: what the beginning is divided by at the end, over 0. Default 10,000.
    pub final_div_factor: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Constant,
            warmup_epochs: 0.0,
            step_epochs: 30,
            gamma: 0.1,
            final_part: 0.0,
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
        }
    }
}

impl ScheduleConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let Self { warmup_epochs: warmup, gamma, final_part, pct_start, .. } = *self;
        let allowed = warmup >= 0.0 && warmup.is_finite();
        require(allowed, "schedule.warmup_epochs", warmup, "a finite number, at least 0")?;
        require(self.step_epochs > 0, "schedule.step_epochs", self.step_epochs, "at least 1")?;
        require(gamma > 0.0 && gamma <= 1.0, "schedule.gamma", gamma, "over 0 and at most 1")?;
        require((0.0..=1.0).contains(&final_part), "schedule.final_part", final_part, "0 to 1")?;
        require(pct_start > 0.0 && pct_start < 1.0, "schedule.pct_start", pct_start, "over 0 and under 1")?;
        let divisors =
            [("schedule.div_factor", self.div_factor), ("schedule.final_div_factor", self.final_div_factor)];
        for (field, divisor) in divisors {
            require(divisor > 0.0 && divisor.is_finite(), field, divisor, "a finite number over 0")?;
        }
        Ok(())
    }

    /// What the learning rate of step `step`, from 0 over the whole training, is multiplied by, where an epoch has
    /// `epoch_steps` and the training `total`.
    pub fn factor(&self, step: u64, epoch_steps: usize, total: u64) -> f64 {
        self.course(step, epoch_steps, total) * self.warmup(step, epoch_steps)
    }

    /// The line at the beginning.
    pub(crate) fn warmup(&self, step: u64, epoch_steps: usize) -> f64 {
        match self.warmup_epochs * epoch_steps as f64 {
            steps if steps > 0.0 => (step as f64 / steps).min(1.0),
            _ => 1.0,
        }
    }

    fn course(&self, step: u64, epoch_steps: usize, total: u64) -> f64 {
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Step => {
                let falls = step / (epoch_steps.max(1) as u64 * u64::from(self.step_epochs)).max(1);
                self.gamma.powf(falls as f64)
            }
            ScheduleKind::Cosine => {
                along_cosine(1.0, self.final_part, (step as f64 / total.max(1) as f64).min(1.0))
            }
            ScheduleKind::OneCycle => {
                let (first, last) = (1.0 / self.div_factor, 1.0 / self.div_factor / self.final_div_factor);
                let (step, top, end) = (step as f64, self.pct_start * total as f64 - 1.0, total as f64 - 1.0);
                // A part of no length is over as it begins.
                let part = |done: f64, length: f64| if length > 0.0 { (done / length).min(1.0) } else { 1.0 };
                match step <= top {
                    true => along_cosine(first, 1.0, part(step, top)),
                    false => along_cosine(1.0, last, part(step - top, end - top)),
                }
            }
        }
    }

    /// Whether another number of epochs would be another course from the first step on.
    pub(crate) fn spans_the_training(&self) -> bool {
        matches!(self.kind, ScheduleKind::Cosine | ScheduleKind::OneCycle)
    }
}

/// From one number to another, `part` of the way in 0..=1, along half a cosine.
fn along_cosine(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * part).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_falls_between_epochs() {
        let step =
            ScheduleConfig { kind: ScheduleKind::Step, step_epochs: 2, gamma: 0.5, ..Default::default() };
        let factors: Vec<f64> = (0..13).map(|at| step.factor(at, 3, 13)).collect();
        assert_eq!(factors, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn every_factor_is_a_part_of_the_learning_rate_however_short_the_training() {
        for kind in [ScheduleKind::Step, ScheduleKind::Cosine, ScheduleKind::OneCycle, ScheduleKind::Constant]
        {
            let schedule = ScheduleConfig { kind, warmup_epochs: 0.5, ..Default::default() };
            for (epoch_steps, total) in [(0, 0), (1, 1), (1, 3), (2, 4), (10, 100)] {
                for step in 0..total + 3 {
                    let factor = schedule.factor(step, epoch_steps, total);
                    assert!((0.0..=1.0).contains(&factor), "{kind:?} {step} of {total}: {factor}");
                }
            }
        }
    }

    #[test]
    fn a_setting_that_makes_no_course_is_refused() {
        let schedule = ScheduleConfig { pct_start: 1.0, ..Default::default() };
        let error = schedule.validate().unwrap_err().to_string();
        assert_eq!(error, "schedule.pct_start is 1: it must be over 0 and under 1");
        assert!(ScheduleConfig { warmup_epochs: -1.0, ..Default::default() }.validate().is_err());
        assert!(ScheduleConfig::default().validate().is_ok());
    }
}
