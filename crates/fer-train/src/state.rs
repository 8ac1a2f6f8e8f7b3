//! What the steps of a training change: variables, what the optimiser keeps of them, their average.

use candle_nn::VarMap;
use fer_nn::engine::{Slots, Update};

use crate::average::Average;
use crate::checkpoint::Checkpoint;
use crate::own::Own;
use crate::weights::{self, Weights};
use crate::{Optimizer, Result, TrainConfig};

pub(crate) struct State<'a> {
    pub weights: &'a VarMap,
    pub optimizer: Optimizer,
    pub average: Option<Average>,
    config: &'a TrainConfig,
    own: &'a Own,
    /// The steps of an epoch.
    steps: usize,
    /// The weights while the variables hold the average in their place.
    raw: Option<Weights>,
}

impl<'a> State<'a> {
    pub fn new(weights: &'a VarMap, config: &'a TrainConfig, own: &'a Own, steps: usize) -> Result<Self> {
        let average = config.average.map(|average| Average::of(weights, average)).transpose()?;
        let optimizer = Optimizer::new(config.optimizer)?;
        Ok(Self { weights, optimizer, average, config, own, steps, raw: None })
    }

    /// Counts a step and gives its numbers.
    pub fn next_update(&mut self) -> Result<Update> {
        let (step, total) = (self.optimizer.steps(), u64::from(self.config.epochs) * self.steps as u64);
        let factor = match &self.own.schedule {
            Some(own) => own(step, total) * self.config.schedule.warmup(step, self.steps),
            None => self.config.schedule.factor(step, self.steps, total),
        };
        let allowed = factor >= 0.0 && factor.is_finite();
        crate::error::require(allowed, "schedule", factor, "a finite number, at least 0, in every step")?;
        let new_in_average = self.average.as_ref().map_or(0.0, |average| average.config.new_part(step));
        Ok(Update { new_in_average: new_in_average as f32, ..self.optimizer.next_update(factor) })
    }

    /// Puts the average, where there is one, in place of the weights.
    pub fn show_average(&mut self) -> Result<()> {
        if let (Some(average), None) = (&self.average, &self.raw) {
            let raw = weights::snapshot(self.weights)?;
            for (name, var) in weights::sorted(self.weights) {
                if let Some(average) = average.get(&name) {
                    var.set(&average.as_detached_tensor().to_device(var.device())?)?;
                }
            }
            self.raw = Some(raw);
        }
        Ok(())
    }

    /// Puts the weights back. What was written to the variables in between is gone.
    pub fn hide_average(&mut self) -> Result<()> {
        if let Some(raw) = self.raw.take() {
            weights::restore(self.weights, &raw)?;
        }
        Ok(())
    }

    /// The weights and their average, whichever of them the variables hold. They share memory with the state.
    pub fn views(&self) -> (Weights, Option<Weights>) {
        let shown = weights::views(self.weights);
        match (&self.raw, &self.average) {
            (Some(raw), Some(average)) => {
                let of_average = |(name, _): &(String, _)| average.get(name).is_some();
                (raw.clone(), Some(shown.into_iter().filter(of_average).collect()))
            }
            (_, average) => (shown, average.as_ref().map(Average::views)),
        }
    }

    /// Goes back to the state that a checkpoint holds.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        weights::restore(self.weights, &checkpoint.weights)?;
        self.optimizer.restore(&checkpoint.optimizer, self.weights)?;
        match (&self.average, &checkpoint.average) {
            (Some(average), Some(values)) => average.set(values),
            _ => Ok(()),
        }
    }

    /// What a device has to know of the variables to go on with them.
    pub fn slots(&self) -> Result<Vec<Slots>> {
        let mut slots = self.optimizer.slots(self.weights)?;
        let Some(average) = &self.average else { return Ok(slots) };
        for (name, var) in weights::sorted(self.weights) {
            let Some(average) = average.get(&name).map(|average| average.as_detached_tensor()) else {
                continue;
            };
            match slots.iter_mut().find(|slots| slots.variable == var.id()) {
                Some(slots) => slots.average = Some(average),
                None => slots.push(Slots { variable: var.id(), m: None, v: None, average: Some(average) }),
            }
        }
        Ok(slots)
    }

    /// Takes over what a device kept.
    pub fn set_slots(&mut self, slots: &[Slots]) -> Result<()> {
        self.optimizer.set_slots(slots, self.weights)?;
        let Some(average) = &self.average else { return Ok(()) };
        let mut values = Weights::new();
        for (name, var) in weights::sorted(self.weights) {
            let of_var = slots.iter().find(|slots| slots.variable == var.id());
            values.extend(of_var.and_then(|slots| slots.average.clone()).map(|average| (name, average)));
        }
        average.set(&values)
    }
}
