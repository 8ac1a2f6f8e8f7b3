//! The steps of a training on the host, batch by batch, through the network's own passes.

use candle_core::{DType, Tensor};
use fer_nn::engine::StepResult;
use fer_nn::{Mode, Network, Step};

use crate::batches::{Batch, Batches, Epoch};
use crate::own::{Own, Rows};
use crate::runner::{Phase, Runner};
use crate::state::State;
use crate::{BoxError, Error, Result, TrainConfig, count_correct};

/// Ranges of one step.
pub(crate) struct Host<'a> {
    network: &'a dyn Network,
    train: &'a dyn Batches,
    validation: Option<&'a dyn Batches>,
    config: &'a TrainConfig,
    own: &'a Own,
    epoch: u32,
    /// The batches done of those that are asked for.
    step: u32,
    batches: Epoch<'a>,
}

impl<'a> Host<'a> {
    pub fn new(
        network: &'a dyn Network,
        train: &'a dyn Batches,
        validation: Option<&'a dyn Batches>,
        config: &'a TrainConfig,
        own: &'a Own,
    ) -> Self {
        Self {
            network,
            train,
            validation,
            config,
            own,
            epoch: 0,
            step: 0,
            batches: Box::new(std::iter::empty()),
        }
    }

    fn train(&self, batch: &Batch, state: &mut State, rows: &mut Rows) -> Result<StepResult> {
        let update = state.next_update()?;
        let (epoch, step) = (self.epoch, self.step);
        let learning_rate = state.optimizer.rate();
        let mut forward = None;
        let mut failed = None;
        let mut loss_of = |logits: &Tensor| -> Result<Tensor> {
            let loss = self.own.mean_loss(logits, &batch.targets, &self.config.loss, true)?;
            let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            if !value.is_finite() {
                let (epoch, batch) = (epoch + 1, step + 1);
                return Err(Error::NonFiniteLoss { loss: value, epoch, batch, learning_rate });
            }
            forward = Some((logits.detach(), value));
            Ok(loss)
        };
        let key = Step { seed: self.config.seed, epoch, step };
        let gradients = self.network.gradients(&batch.images, key, &mut |logits| {
            loss_of(logits).map_err(|error| {
                failed = Some(error);
                candle_core::Error::msg("the loss failed")
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let gradients = gradients?;
        let nothing = || Error::NoGradient { variables: state.weights.all_vars().len() };
        let (logits, loss) = forward.ok_or_else(nothing)?;
        if state.optimizer.apply(state.weights, &gradients, &update)? == 0 {
            return Err(Error::NoGradient { variables: state.weights.all_vars().len() });
        }
        if let Some(average) = &state.average {
            average.add(state.weights, update.new_in_average)?;
        }
        tracing::trace!(epoch, step, loss, "batch");
        self.result(&logits, batch, loss, rows)
    }

    fn validate(&self, batch: &Batch, rows: &mut Rows) -> Result<StepResult> {
        let logits = self.network.forward(&batch.images, Mode::Eval)?.detach();
        let loss = self.own.mean_loss(&logits, &batch.targets, &self.config.loss, false)?;
        self.result(&logits, batch, loss.to_dtype(DType::F64)?.to_scalar()?, rows)
    }

    fn result(&self, logits: &Tensor, batch: &Batch, loss: f64, rows: &mut Rows) -> Result<StepResult> {
        if !self.own.metrics.is_empty() {
            rows.push(logits, &batch.targets)?;
        }
        let samples = logits.dim(0)?;
        let correct = count_correct(logits, &batch.targets)? as u32;
        Ok(StepResult { samples, loss: loss * samples as f64, correct })
    }
}

impl Runner for Host<'_> {
    fn begin(&mut self, phase: Phase, state: &mut State, epoch: u32, step: u32) -> Result<()> {
        (self.epoch, self.step) = (epoch, step);
        self.batches = match (phase, self.validation) {
            (Phase::Training, _) => Box::new(self.train.epoch(epoch).skip(step as usize)),
            (Phase::Validation, Some(validation)) => {
                state.show_average()?;
                // Every validation is the same: its epoch is 0.
                validation.epoch(0)
            }
            (Phase::Validation, None) => Box::new(std::iter::empty()),
        };
        Ok(())
    }

    fn next(&mut self, phase: Phase, state: &mut State, rows: &mut Rows) -> Result<Vec<StepResult>> {
        let Some(batch) = self.batches.next() else { return Ok(Vec::new()) };
        let (phase_name, epoch, batch_number) = (phase.name(), self.epoch + 1, self.step + 1);
        let at = |source: BoxError| Error::Batch { phase: phase_name, epoch, batch: batch_number, source };
        let batch = batch.map_err(at)?;
        let result = match phase {
            Phase::Training => self.train(&batch, state, rows),
            Phase::Validation => self.validate(&batch, rows),
        };
        self.step += 1;
        result.map(|result| vec![result]).map_err(|error| match error {
            Error::NonFiniteLoss { .. } | Error::NoGradient { .. } | Error::Config { .. } => error,
            error => at(error.into()),
        })
    }

    fn store(&mut self, _: &mut State) -> Result<()> {
        Ok(())
    }
}
