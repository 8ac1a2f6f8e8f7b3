//! The loop over epochs and batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Tensor};
use candle_nn::VarMap;
use fer_metrics::{EpochLog, History};
use fer_nn::on_device::{BatchResult, OnDevice, Setup, Update};
use fer_nn::{Mode, Network, Step};

use crate::batches::{Batch, Batches, Stored};
use crate::callback::{BatchLog, Callback, Control, Ended};
use crate::checkpoint::{Checkpoint, Data, Position};
use crate::loss::{count_correct, cross_entropy};
use crate::{BoxError, Error, LossConfig, Optimizer, TrainConfig, weights};

/// Trains networks.
#[derive(Clone, Debug)]
pub struct Trainer {
    config: TrainConfig,
    checkpoint: Option<PathBuf>,
    resume: bool,
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
        Ok(Self { config, checkpoint: None, resume: false, interrupt: Arc::default() })
    }

    /// Keeps the state of the training in the file `path`: at its beginning, after each epoch and when it is
    /// interrupted. A crash at any moment leaves a whole [`Checkpoint`].
    pub fn checkpoint(self, path: impl Into<PathBuf>) -> Self {
        Self { checkpoint: Some(path.into()), ..self }
    }

    /// Whether to begin where the checkpoint is, instead of anew. The training then goes on as if it had
    /// never stopped: on the CPU the final weights are the same to the bit.
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// Ends the training after the present batch once the flag is set, with [`Ended::Interrupted`].
    pub fn interrupt(self, flag: Arc<AtomicBool>) -> Self {
        Self { interrupt: flag, ..self }
    }

    /// Trains `network`, whose variables are `weights`, on the batches of `train`, and measures it on
    /// `validation` after each epoch.
    ///
    /// The variables that receive a gradient are trained; the others are state of the network (moving
    /// statistics), which is kept in checkpoints all the same. Loss and accuracy of an epoch are means over
    /// its samples; those of the training are measured in training mode, while the weights change, and class
    /// weights do not count in the validation, all as in Keras.
    ///
    /// # Errors
    /// When the data, the network, a callback or a file fails, when the loss is no longer finite, or when the
    /// checkpoint to resume is of another training. A checkpoint then holds the state before.
    pub fn fit(
        &self,
        network: &dyn Network,
        weights: &VarMap,
        train: &dyn Batches,
        validation: Option<&dyn Batches>,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Outcome, Error> {
        let mut run = Run {
            trainer: self,
            network,
            weights,
            train,
            validation,
            callbacks,
            optimizer: Optimizer::new(self.config.optimizer)?,
            history: History::default(),
            position: Position::default(),
            stopped: false,
            on_device: self.on_device(network, train, validation)?,
        };
        run.begin()?;
        let ended = run.train()?;
        run.call(|callback, control| callback.on_train_end(control, ended))?;
        Ok(Outcome { history: run.history, ended })
    }

    /// A training that stays on the device, where the network and the data have one.
    fn on_device(
        &self,
        network: &dyn Network,
        train: &dyn Batches,
        validation: Option<&dyn Batches>,
    ) -> Result<Option<Box<dyn OnDevice>>, Error> {
        let Some(Stored { samples: train, edge, tones }) = train.stored() else { return Ok(None) };
        let valid = match validation.map(Batches::stored) {
            Some(None) => return Ok(None),
            Some(Some(valid)) => Some(valid.samples),
            None => None,
        };
        let LossConfig { label_smoothing, class_weights } = &self.config.loss;
        let setup = Setup {
            train: &train,
            valid: valid.as_ref(),
            edge,
            tones,
            label_smoothing: *label_smoothing,
            class_weights: class_weights.as_deref(),
            seed: self.config.seed,
        };
        Ok(network.on_device(&setup)?)
    }

    fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

/// A training under way.
struct Run<'a, 'c> {
    trainer: &'a Trainer,
    network: &'a dyn Network,
    weights: &'a VarMap,
    train: &'a dyn Batches,
    validation: Option<&'a dyn Batches>,
    callbacks: &'a mut [&'c mut dyn Callback],
    optimizer: Optimizer,
    history: History,
    position: Position,
    stopped: bool,
    on_device: Option<Box<dyn OnDevice>>,
}

impl Run<'_, '_> {
    fn begin(&mut self) -> Result<(), Error> {
        let checkpoint = match (&self.trainer.checkpoint, self.trainer.resume) {
            (Some(path), true) => {
                let checkpoint = Checkpoint::load(path)?;
                let differences = checkpoint.differences(&self.state()?);
                if !differences.is_empty() {
                    return Err(Error::Mismatch { path: path.clone(), differences });
                }
                weights::restore(self.weights, &checkpoint.weights)?;
                self.optimizer.restore(&checkpoint.optimizer, self.weights)?;
                if let Some(device) = &mut self.on_device {
                    device.set_moments(&self.optimizer.moments(self.weights)?)?;
                }
                self.history = checkpoint.history;
                self.position = checkpoint.position;
                self.stopped = checkpoint.stopped;
                tracing::info!(path = %path.display(), epoch = self.position.epoch + 1, "resumed");
                Some(checkpoint.callbacks)
            }
            (None, true) => {
                return crate::config::require(false, "resume", true, "false without a checkpoint");
            }
            (_, false) => None,
        };
        self.call(|callback, control| callback.on_train_begin(control))?;
        match checkpoint {
            None => self.save(),
            Some(states) => {
                let mut states = states.into_iter();
                self.call(|callback, _| match callback.save()? {
                    Some(_) => states.next().map_or(Ok(()), |(_, state)| callback.restore(state)),
                    None => Ok(()),
                })
            }
        }
    }

    fn train(&mut self) -> Result<Ended, Error> {
        loop {
            if self.stopped {
                return Ok(Ended::Stopped);
            }
            if self.position.epoch >= self.trainer.config.epochs {
                return Ok(Ended::Completed);
            }
            if self.trainer.interrupted() {
                return Ok(self.ended_here());
            }
            let started = Instant::now();
            let before = self.position.seconds;
            self.train_epoch(started)?;
            let validation = match (self.trainer.interrupted(), self.on_device.is_some()) {
                (true, _) => None,
                (false, true) => Some(self.validate_on_device()?),
                (false, false) => Some(self.validate()?),
            };
            let Some(validation) = validation.filter(|_| !self.trainer.interrupted()) else {
                self.save()?;
                return Ok(self.ended_here());
            };
            let seconds = before + started.elapsed().as_secs_f64();
            self.end_epoch(validation, seconds)?;
        }
    }

    fn ended_here(&self) -> Ended {
        Ended::Interrupted { epoch: self.position.epoch + 1, steps: self.position.step }
    }

    /// Trains on the batches of the epoch that are still to come, until it is interrupted.
    fn train_epoch(&mut self, started: Instant) -> Result<(), Error> {
        if self.on_device.is_some() {
            return self.train_epoch_on_device(started);
        }
        let (train, before) = (self.train, self.position.seconds);
        let steps = train.steps();
        let batches = train.epoch(self.position.epoch).skip(self.position.step as usize);
        for batch in batches {
            let Position { epoch, step, .. } = self.position;
            let at = |source| Error::Batch { phase: "training", epoch: epoch + 1, batch: step + 1, source };
            self.train_batch(batch.map_err(at)?).map_err(|error| match error {
                Error::NonFiniteLoss { .. } | Error::NoGradient { .. } | Error::Config { .. } => error,
                error => at(error.into()),
            })?;
            self.position.seconds = before + started.elapsed().as_secs_f64();
            let log = self.batch_log(steps);
            for callback in &mut *self.callbacks {
                callback.on_batch_end(&log);
            }
            if self.trainer.interrupted() {
                return Ok(());
            }
        }
        if self.position.samples == 0 {
            return Err(Error::NoData { phase: "training", epoch: self.position.epoch + 1 });
        }
        Ok(())
    }

    /// Trains on all batches of the epoch that are still to come, without looking in between.
    fn train_epoch_on_device(&mut self, started: Instant) -> Result<(), Error> {
        let Some(device) = &mut self.on_device else { return Ok(()) };
        let Position { epoch, step: first, seconds: before, .. } = self.position;
        let learning_rate = self.optimizer.learning_rate();
        let steps = self.train.steps();
        let updates: Vec<Update> = (first as usize..steps).map(|_| self.optimizer.next_update()).collect();
        let results = device.train(epoch, first as usize, &self.train.plan(epoch), &updates)?;
        self.optimizer.set_moments(&device.moments()?, self.weights)?;
        let seconds = started.elapsed().as_secs_f64();
        for (done, BatchResult { samples, loss, correct }) in results.iter().enumerate() {
            if !loss.is_finite() {
                let (loss, epoch, batch) = (loss / *samples as f64, epoch + 1, self.position.step + 1);
                return Err(Error::NonFiniteLoss { loss, epoch, batch, learning_rate });
            }
            self.position.step += 1;
            self.position.samples += *samples as u64;
            self.position.loss += loss;
            self.position.correct += u64::from(*correct);
            // Each batch its share: the device was not asked in between.
            self.position.seconds = before + seconds * (done + 1) as f64 / results.len() as f64;
            let log = self.batch_log(steps);
            self.callbacks.iter_mut().for_each(|callback| callback.on_batch_end(&log));
        }
        match self.position.samples {
            0 => Err(Error::NoData { phase: "training", epoch: epoch + 1 }),
            _ => Ok(()),
        }
    }

    fn train_batch(&mut self, batch: Batch) -> Result<(), Error> {
        let config = &self.trainer.config;
        let Position { epoch, step, .. } = self.position;
        let learning_rate = self.optimizer.learning_rate();
        let mut forward = None;
        let mut failed = None;
        let mut loss_of = |logits: &Tensor| -> Result<Tensor, Error> {
            let loss = cross_entropy(logits, &batch.labels, &config.loss)?;
            let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            if !value.is_finite() {
                let (epoch, batch) = (epoch + 1, step + 1);
                return Err(Error::NonFiniteLoss { loss: value, epoch, batch, learning_rate });
            }
            forward = Some((logits.detach(), value));
            Ok(loss)
        };
        let key = Step { seed: config.seed, epoch, step };
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
        let Some((logits, value)) = forward else {
            return Err(Error::NoGradient { variables: self.weights.all_vars().len() });
        };
        if self.optimizer.step(self.weights, &gradients)? == 0 {
            return Err(Error::NoGradient { variables: self.weights.all_vars().len() });
        }
        let samples = logits.dim(0)? as u64;
        self.position.step += 1;
        self.position.samples += samples;
        self.position.loss += value * samples as f64;
        self.position.correct += count_correct(&logits, &batch.labels)? as u64;
        tracing::trace!(epoch, step, loss = value, "batch");
        Ok(())
    }

    fn batch_log(&self, steps: usize) -> BatchLog {
        let Position { epoch, step, samples, loss, correct, seconds } = self.position;
        BatchLog {
            epoch: epoch + 1,
            epochs: self.trainer.config.epochs,
            step,
            steps,
            samples,
            loss: loss / samples as f64,
            accuracy: correct as f64 / samples as f64,
            learning_rate: self.optimizer.learning_rate(),
            seconds,
        }
    }

    /// Mean loss and accuracy on the validation data; partial, and to be thrown away, when it is interrupted.
    fn validate(&self) -> Result<Option<(f64, f64)>, Error> {
        let Some(validation) = self.validation else { return Ok(None) };
        let config = LossConfig { class_weights: None, ..self.trainer.config.loss.clone() };
        let epoch = self.position.epoch + 1;
        let (mut samples, mut sum, mut correct) = (0, 0.0, 0);
        let measure = |batch: Batch| -> Result<(usize, f64, usize), Error> {
            let logits = self.network.forward(&batch.images, Mode::Eval)?.detach();
            let loss = cross_entropy(&logits, &batch.labels, &config)?;
            let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            Ok((logits.dim(0)?, loss, count_correct(&logits, &batch.labels)?))
        };
        // Every validation is the same: its epoch is 0.
        for (batch, step) in validation.epoch(0).zip(1..) {
            let at = |source: BoxError| Error::Batch { phase: "validation", epoch, batch: step, source };
            let (n, loss, hits) = measure(batch.map_err(at)?).map_err(|error| at(error.into()))?;
            samples += n;
            sum += loss * n as f64;
            correct += hits;
            if self.trainer.interrupted() {
                break;
            }
        }
        match samples {
            0 => Err(Error::NoData { phase: "validation", epoch }),
            _ => Ok(Some((sum / samples as f64, correct as f64 / samples as f64))),
        }
    }

    /// As [`validate`](Self::validate), by the device.
    fn validate_on_device(&mut self) -> Result<Option<(f64, f64)>, Error> {
        let (Some(device), Some(_)) = (&mut self.on_device, self.validation) else { return Ok(None) };
        let results = device.validate()?;
        let samples = results.iter().map(|result| result.samples).sum::<usize>() as f64;
        let loss = results.iter().map(|result| result.loss).sum::<f64>();
        let correct = results.iter().map(|result| u64::from(result.correct)).sum::<u64>();
        Ok(Some((loss / samples, correct as f64 / samples)))
    }

    fn end_epoch(&mut self, validation: Option<(f64, f64)>, seconds: f64) -> Result<(), Error> {
        let training = self.batch_log(self.train.steps());
        let log = EpochLog {
            epoch: training.epoch as usize,
            loss: training.loss,
            accuracy: training.accuracy,
            val_loss: validation.map(|(loss, _)| loss),
            val_accuracy: validation.map(|(_, accuracy)| accuracy),
            learning_rate: f64::from(training.learning_rate),
            seconds,
        };
        tracing::debug!(?log, "epoch");
        self.history.epochs.push(log);
        self.position = Position { epoch: self.position.epoch + 1, ..Position::default() };
        self.call(|callback, control| callback.on_epoch_end(control))?;
        self.save()
    }

    /// Calls each callback, does what it wants, and passes on what it says.
    fn call(
        &mut self,
        mut hook: impl FnMut(&mut dyn Callback, &mut Control) -> Result<(), BoxError>,
    ) -> Result<(), Error> {
        for index in 0..self.callbacks.len() {
            let learning_rate = self.optimizer.learning_rate();
            let epochs = self.trainer.config.epochs;
            let mut control = Control::new(&self.history, self.weights, epochs, learning_rate);
            control.stop = self.stopped;
            let callback = &mut *self.callbacks[index];
            hook(callback, &mut control)
                .map_err(|source| Error::Callback { callback: callback.name().to_owned(), source })?;
            self.optimizer.set_learning_rate(control.learning_rate);
            self.stopped = control.stop;
            for message in control.messages {
                tracing::info!("{message}");
                self.callbacks.iter_mut().for_each(|callback| callback.on_message(&message));
            }
        }
        Ok(())
    }

    /// The state of this moment. It shares the memory of the network.
    fn state(&self) -> Result<Checkpoint, Error> {
        let mut callbacks = Vec::new();
        for callback in &*self.callbacks {
            let name = callback.name().to_owned();
            match callback.save() {
                Ok(Some(state)) => callbacks.push((name, state)),
                Ok(None) => {}
                Err(source) => return Err(Error::Callback { callback: name, source }),
            }
        }
        let data = Data {
            training_samples: self.train.samples(),
            training_steps: self.train.steps(),
            validation_samples: self.validation.map(Batches::samples),
        };
        Ok(Checkpoint {
            config: self.trainer.config.clone(),
            data,
            position: self.position,
            stopped: self.stopped,
            history: self.history.clone(),
            weights: weights::views(self.weights),
            optimizer: self.optimizer.state()?,
            callbacks,
        })
    }

    fn save(&self) -> Result<(), Error> {
        match &self.trainer.checkpoint {
            Some(path) => self.state()?.save(path),
            None => Ok(()),
        }
    }
}
