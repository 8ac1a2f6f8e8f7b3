//! The loop over epochs and ranges of steps: one for every engine.

use std::time::Instant;

use fer_metrics::{EpochLog, History};

use crate::batches::Batches;
use crate::callback::{BatchLog, BatchStart, Callback, Control, Ended};
use crate::checkpoint::Position;
use crate::own::Rows;
use crate::runner::{Phase, Runner};
use crate::state::State;
use crate::{BoxError, Error, Result, Trainer};

/// A training under way.
pub(crate) struct Run<'a, 'c> {
    pub trainer: &'a Trainer,
    pub train: &'a dyn Batches,
    pub validation: Option<&'a dyn Batches>,
    pub callbacks: &'a mut [&'c mut dyn Callback],
    pub state: State<'a>,
    pub runner: Box<dyn Runner + 'a>,
    pub history: History,
    /// Of the epoch that is trained.
    pub position: Position,
    pub rows: Rows,
    pub stopped: bool,
}

impl Run<'_, '_> {
    /// Trains to the end. Then the variables hold the average, where there is one.
    pub fn finish(&mut self) -> Result<Ended> {
        let ended = self.train()?;
        self.state.show_average()?;
        self.call(|callback, control| callback.on_train_end(control, ended))?;
        Ok(ended)
    }

    fn train(&mut self) -> Result<Ended> {
        loop {
            if self.stopped {
                return Ok(Ended::Stopped);
            }
            if self.position.epoch >= self.trainer.config.epochs {
                return Ok(Ended::Completed);
            }
            if self.trainer.is_interrupted() {
                return Ok(self.ended_here());
            }
            let (started, before) = (Instant::now(), self.position.seconds);
            let validation = self.epoch()?;
            self.runner.store(&mut self.state)?;
            let Some(validation) = validation else {
                self.state.hide_average()?;
                self.save()?;
                return Ok(self.ended_here());
            };
            self.end_epoch(validation, before + started.elapsed().as_secs_f64())?;
        }
    }

    fn ended_here(&self) -> Ended {
        Ended::Interrupted { epoch: self.position.epoch + 1, steps: self.position.step }
    }

    /// What is left of an epoch, and its validation, whose result it gives; `None` when it was interrupted.
    fn epoch(&mut self) -> Result<Option<(Position, Rows)>> {
        let (mut position, mut rows) = (self.position, std::mem::take(&mut self.rows));
        let is_whole = self.phase(Phase::Training, &mut position, &mut rows)?;
        (self.position, self.rows) = (position, rows);
        let mut validation =
            (Position { epoch: self.position.epoch, ..Position::default() }, Rows::default());
        let is_whole = is_whole
            && (self.validation.is_none()
                || self.phase(Phase::Validation, &mut validation.0, &mut validation.1)?);
        Ok(is_whole.then_some(validation))
    }

    /// Does a phase from `position` on, range by range. False when it was interrupted.
    fn phase(&mut self, phase: Phase, position: &mut Position, rows: &mut Rows) -> Result<bool> {
        let (started, before) = (Instant::now(), position.seconds);
        let steps = match (phase, self.validation) {
            (Phase::Validation, Some(validation)) => validation.steps(),
            _ => self.train.steps(),
        };
        self.runner.begin(phase, &mut self.state, position.epoch, position.step)?;
        loop {
            if phase == Phase::Training && (position.step as usize) < steps {
                let batch = BatchStart { epoch: position.epoch + 1, step: position.step + 1, steps };
                self.call(|callback, control| callback.on_batch_begin(control, &batch))?;
                if self.stopped && position.samples > 0 {
                    break;
                }
            }
            let results = self.runner.next(phase, &mut self.state, rows)?;
            if results.is_empty() {
                break;
            }
            for result in &results {
                position.add(result);
                if phase == Phase::Training && !result.loss.is_finite() {
                    return Err(Error::NonFiniteLoss {
                        loss: result.loss / result.samples as f64,
                        epoch: position.epoch + 1,
                        batch: position.step,
                        learning_rate: self.state.optimizer.rate(),
                    });
                }
            }
            position.seconds = before + started.elapsed().as_secs_f64();
            let log = self.log(position, steps);
            for callback in &mut *self.callbacks {
                match phase {
                    Phase::Training => callback.on_batch_end(&log),
                    Phase::Validation => callback.on_validation_batch_end(&log),
                }
            }
            if self.trainer.is_interrupted() {
                return Ok(false);
            }
        }
        match position.samples {
            0 => Err(Error::NoData { phase: phase.name(), epoch: position.epoch + 1 }),
            _ => Ok(true),
        }
    }

    fn log(&self, position: &Position, steps: usize) -> BatchLog {
        let Position { epoch, step, samples, seconds, .. } = *position;
        BatchLog {
            epoch: epoch + 1,
            epochs: self.trainer.config.epochs,
            step,
            steps,
            samples,
            loss: position.mean_loss(),
            accuracy: position.accuracy(),
            learning_rate: self.state.optimizer.rate(),
            seconds,
        }
    }

    fn end_epoch(&mut self, (validation, rows): (Position, Rows), seconds: f64) -> Result<()> {
        let (position, own) = (self.position, &self.trainer.own);
        let mut metrics = own.measure(&self.rows, "");
        if self.validation.is_some() {
            metrics.extend(own.measure(&rows, "val_"));
        }
        let log = EpochLog {
            epoch: position.epoch as usize + 1,
            loss: position.mean_loss(),
            accuracy: position.accuracy(),
            val_loss: self.validation.map(|_| validation.mean_loss()),
            val_accuracy: self.validation.map(|_| validation.accuracy()),
            learning_rate: f64::from(self.state.optimizer.rate()),
            seconds,
            metrics,
        };
        tracing::debug!(?log, "epoch");
        self.history.epochs.push(log);
        self.position = Position { epoch: position.epoch + 1, ..Position::default() };
        self.rows = Rows::default();
        self.state.show_average()?;
        self.call(|callback, control| callback.on_epoch_end(control))?;
        // What a callback that stops the training put into the variables is its result.
        if !self.stopped {
            self.state.hide_average()?;
        }
        self.save()
    }

    /// Calls each callback, does what it wants, and passes on what it says.
    pub fn call(
        &mut self,
        mut hook: impl FnMut(&mut dyn Callback, &mut Control) -> Result<(), BoxError>,
    ) -> Result<()> {
        for index in 0..self.callbacks.len() {
            let learning_rate = self.state.optimizer.learning_rate();
            let epochs = self.trainer.config.epochs;
            let mut control = Control::new(&self.history, self.state.weights, epochs, learning_rate);
            control.stop = self.stopped;
            let callback = &mut *self.callbacks[index];
            hook(callback, &mut control)
                .map_err(|source| Error::Callback { callback: callback.name().to_owned(), source })?;
            self.state.optimizer.set_learning_rate(control.learning_rate);
            self.stopped = control.stop;
            for message in control.messages {
                self.say(&message);
            }
        }
        Ok(())
    }

    /// A line for the user.
    pub fn say(&mut self, message: &str) {
        tracing::info!("{message}");
        self.callbacks.iter_mut().for_each(|callback| callback.on_message(message));
    }
}
