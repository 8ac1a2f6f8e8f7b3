//! The steps of a training that a device does by itself, as many at a time as one likes to wait for.

use std::time::Instant;

use fer_nn::engine::{Engine, StepResult};

use crate::Result;
use crate::batches::Batches;
use crate::own::Rows;
use crate::runner::{Phase, Runner};
use crate::state::State;

/// How long a range of steps should take, in seconds.
const RANGE: f64 = 0.5;
/// How many times longer than the last a range may be.
const GROWTH: usize = 8;

/// Ranges of as many steps as take about [`RANGE`].
pub(crate) struct Device<'a> {
    engine: Box<dyn Engine>,
    train: &'a dyn Batches,
    training: Pace,
    validation: Pace,
    /// Whether the device knows what the optimiser keeps.
    is_current: bool,
}

impl<'a> Device<'a> {
    /// Of `steps` batches in an epoch and `validation_steps` in the validation; in ranges of one step of training where
    /// `every_batch` is asked for.
    pub fn new(
        engine: Box<dyn Engine>,
        train: &'a dyn Batches,
        steps: usize,
        validation_steps: usize,
        every_batch: bool,
    ) -> Self {
        let longest = if every_batch { 1 } else { usize::MAX };
        let (training, validation) = (Pace::new(steps, longest), Pace::new(validation_steps, usize::MAX));
        Self { engine, train, training, validation, is_current: false }
    }
}

impl Runner for Device<'_> {
    fn begin(&mut self, phase: Phase, state: &mut State, epoch: u32, step: u32) -> Result<()> {
        match phase {
            Phase::Validation => self.validation.next = 0,
            Phase::Training => {
                if !self.is_current {
                    self.engine.set_slots(&state.slots()?)?;
                    self.is_current = true;
                }
                self.engine.begin(epoch, &self.train.plan(epoch))?;
                self.training.next = step as usize;
            }
        }
        Ok(())
    }

    fn next(&mut self, phase: Phase, state: &mut State, _: &mut Rows) -> Result<Vec<StepResult>> {
        let pace = match phase {
            Phase::Training => &mut self.training,
            Phase::Validation => &mut self.validation,
        };
        let steps = pace.range();
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let results = match phase {
            Phase::Training => {
                let updates = steps.clone().map(|_| state.next_update()).collect::<Result<Vec<_>, _>>()?;
                self.engine.train(steps.clone(), &updates)?
            }
            Phase::Validation => self.engine.validate(steps.clone())?,
        };
        pace.done(steps.len(), started.elapsed().as_secs_f64());
        Ok(results)
    }

    fn store(&mut self, state: &mut State) -> Result<()> {
        self.engine.store()?;
        state.set_slots(&self.engine.slots()?)
    }
}

/// How many steps a range has.
struct Pace {
    next: usize,
    steps: usize,
    range: usize,
    longest: usize,
}

impl Pace {
    fn new(steps: usize, longest: usize) -> Self {
        Self { next: 0, steps, range: 1, longest }
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.next..self.steps.min(self.next + self.range)
    }

    /// Learns from the steps just done.
    fn done(&mut self, steps: usize, seconds: f64) {
        self.next += steps;
        // A float becomes the nearest whole number there is, and NaN 0.
        let fitting = (RANGE * steps as f64 / seconds) as usize;
        self.range = fitting.clamp(1, self.range.saturating_mul(GROWTH)).min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_as_long_as_one_likes_to_wait() {
        let mut pace = Pace::new(1000, usize::MAX);
        let mut ranges = Vec::new();
        // Each step takes 10 ms, the first one a second.
        while !pace.range().is_empty() {
            let steps = pace.range().len();
            pace.done(steps, steps as f64 / 100.0 + if ranges.is_empty() { 1.0 } else { 0.0 });
            ranges.push(steps);
        }
        assert_eq!(ranges[..5], [1, 1, 8, 50, 50]);
        assert_eq!(ranges.iter().sum::<usize>(), 1000);
        // Nor does a clock that stands still ask for more than there is.
        let mut pace = Pace::new(3, usize::MAX);
        pace.done(1, 0.0);
        assert_eq!(pace.range(), 1..3);
        let mut single = Pace::new(3, 1);
        single.done(1, 0.0);
        assert_eq!(single.range(), 1..2);
    }
}
