//! Where a training begins, and what of it is kept to go on with.

use crate::batches::Batches;
use crate::checkpoint::{Checkpoint, Data};
use crate::run::Run;
use crate::{Error, Result};

impl Run<'_, '_> {
    /// Begins anew, or where the checkpoint is.
    pub fn begin(&mut self) -> Result<()> {
        let resumed = match (&self.trainer.checkpoint, self.trainer.resume) {
            (Some(path), true) => {
                let checkpoint = Checkpoint::load(path)?;
                let differences = checkpoint.differences(&self.checkpoint()?);
                if !differences.is_empty() {
                    return Err(Error::Mismatch { path: path.clone(), differences });
                }
                self.state.restore(&checkpoint)?;
                self.history = checkpoint.history;
                self.position = checkpoint.position;
                self.rows = checkpoint.rows;
                self.stopped = checkpoint.stopped;
                tracing::info!(path = %path.display(), epoch = self.position.epoch + 1, "resumed");
                Some(checkpoint.callbacks)
            }
            (None, true) => {
                return crate::error::require(false, "resume", true, "false without a checkpoint");
            }
            (_, false) => None,
        };
        self.call(|callback, control| callback.on_train_begin(control))?;
        match resumed {
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

    /// The state of this moment. It shares the memory of the network.
    fn checkpoint(&self) -> Result<Checkpoint> {
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
        let (weights, average) = self.state.views();
        Ok(Checkpoint {
            config: self.trainer.config.clone(),
            own: self.trainer.own.names(),
            data,
            position: self.position,
            rows: self.rows.clone(),
            stopped: self.stopped,
            history: self.history.clone(),
            weights,
            average,
            optimizer: self.state.optimizer.state(self.state.weights)?,
            callbacks,
        })
    }

    /// Keeps the state of this moment, where there is a place for it.
    pub fn save(&self) -> Result<()> {
        match &self.trainer.checkpoint {
            Some(path) => self.checkpoint()?.save(path),
            None => Ok(()),
        }
    }
}
