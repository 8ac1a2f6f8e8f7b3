//! The whole state of a training in one file.
//!
//! It is a safetensors file: the tensors are `weights/NAME`, `average/NAME`, `optimizer/m/NAME`, `optimizer/v/NAME`,
//! `rows/logits` and `rows/targets` of the epoch so far, and `callbacks/INDEX/NAME`; everything else is JSON in the header's metadata, under `training`. One file that is
//! written beside its place, synced and renamed is the old state or the new one at any moment, and never a
//! mixture.

mod differences;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fer_metrics::History;
use fer_nn::engine::StepResult;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callback::CallbackState;
use crate::exact::{self, ExactLog};
use crate::optimizer::OptimizerState;
use crate::own::{OwnNames, Rows};
use crate::weights::Weights;
use crate::{Error, Result, TrainConfig, files};

/// A training at a moment between two batches.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) config: TrainConfig,
    pub(crate) own: OwnNames,
    pub(crate) data: Data,
    pub(crate) position: Position,
    /// Of the epoch so far.
    pub(crate) rows: Rows,
    pub(crate) stopped: bool,
    pub(crate) history: History,
    pub(crate) weights: Weights,
    pub(crate) average: Option<Weights>,
    pub(crate) optimizer: OptimizerState,
    pub(crate) callbacks: Vec<(String, CallbackState)>,
}

/// What must be the same for the batches to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) training_samples: usize,
    pub(crate) training_steps: usize,
    pub(crate) validation_samples: Option<usize>,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// From 0.
    pub(crate) epoch: u32,
    /// The batches of the epoch that are done.
    pub(crate) step: u32,
    pub(crate) samples: u64,
    /// The sum of the samples' losses.
    #[serde(with = "exact")]
    pub(crate) loss: f64,
    pub(crate) correct: u64,
    pub(crate) seconds: f64,
}

impl Position {
    pub(crate) fn add(&mut self, result: &StepResult) {
        self.step += 1;
        self.samples += result.samples as u64;
        self.loss += result.loss;
        self.correct += u64::from(result.correct);
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.samples as f64
    }
}

/// The JSON in the metadata.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    config: TrainConfig,
    own: OwnNames,
    data: Data,
    position: Position,
    stopped: bool,
    history: Vec<ExactLog>,
    optimizer: Value,
    callbacks: Vec<CallbackRecord>,
}

#[derive(Serialize, Deserialize)]
struct CallbackRecord {
    name: String,
    settings: Value,
    values: Value,
}

/// What every format has in its JSON.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// 1 had neither schedules nor averages.
const FORMAT: u32 = 2;
const KEY: &str = "training";

impl Checkpoint {
    /// Reads a checkpoint; its tensors are on the CPU.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is no checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), source };
        let bad = |reason: String| Error::Format { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(io)?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(error.to_string()))?;
        let json = metadata.metadata().as_ref().and_then(|text| text.get(KEY));
        let json = json.ok_or_else(|| bad("these are weights, but not a checkpoint of a training".into()))?;
        let Format { format } = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        if format < FORMAT {
            return Err(bad(format!(
                "it is a checkpoint of an earlier version (format {format}), which this one cannot go on with: the run \
                 must be begun anew"
            )));
        }
        if format > FORMAT {
            return Err(bad(format!("its format is {format}; this version reads {FORMAT}")));
        }
        let record: Record = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        let (mut weights, mut average, mut kept) = (Weights::new(), Weights::new(), BTreeMap::new());
        let mut rows = BTreeMap::new();
        let mut callbacks: Vec<_> = record.callbacks.into_iter().map(CallbackRecord::state).collect();
        for (name, tensor) in files::tensors(path, &bytes)? {
            let callback = |rest: &str| {
                let (index, name) = rest.split_once('/')?;
                Some((index.parse::<usize>().ok()?, name.to_owned()))
            };
            match name.split_once('/') {
                Some(("weights", name)) => {
                    weights.insert(name.to_owned(), tensor);
                }
                Some(("optimizer", name)) => {
                    kept.insert(name.to_owned(), tensor);
                }
                Some(("average", name)) => {
                    average.insert(name.to_owned(), tensor);
                }
                Some(("rows", name)) => {
                    rows.insert(name.to_owned(), tensor);
                }
                Some(("callbacks", rest)) => {
                    if let Some((index, name)) = callback(rest)
                        && let Some((_, state)) = callbacks.get_mut(index)
                    {
                        state.tensors.insert(name, tensor);
                    }
                }
                _ => return Err(bad(format!("it holds an unknown tensor, `{name}`"))),
            }
        }
        let rows = match (rows.get("logits"), rows.get("targets")) {
            (Some(logits), Some(targets)) => {
                Rows::from_tensors(logits, targets).map_err(|error| bad(error.to_string()))?
            }
            _ => Rows::default(),
        };
        Ok(Self {
            average: record.config.average.map(|_| average),
            config: record.config,
            own: record.own,
            data: record.data,
            position: record.position,
            rows,
            stopped: record.stopped,
            history: History { epochs: record.history.into_iter().map(|log| log.0).collect() },
            weights,
            optimizer: OptimizerState { scalars: record.optimizer, tensors: kept },
            callbacks,
        })
    }

    /// Writes the checkpoint; a crash leaves the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut tensors = Weights::new();
        for (name, tensor) in &self.weights {
            tensors.insert(format!("weights/{name}"), tensor.clone());
        }
        for (name, tensor) in self.average.iter().flatten() {
            tensors.insert(format!("average/{name}"), tensor.clone());
        }
        for (name, tensor) in &self.optimizer.tensors {
            tensors.insert(format!("optimizer/{name}"), tensor.clone());
        }
        for (name, tensor) in self.rows.tensors()? {
            tensors.insert(format!("rows/{name}"), tensor);
        }
        let mut callbacks = Vec::new();
        for (index, (name, state)) in self.callbacks.iter().enumerate() {
            for (name, tensor) in &state.tensors {
                tensors.insert(format!("callbacks/{index}/{name}"), tensor.clone());
            }
            let CallbackState { settings, values, .. } = state.clone();
            callbacks.push(CallbackRecord { name: name.clone(), settings, values });
        }
        let record = Record {
            format: FORMAT,
            config: self.config.clone(),
            own: self.own.clone(),
            data: self.data,
            position: self.position,
            stopped: self.stopped,
            history: self.history.epochs.iter().cloned().map(ExactLog).collect(),
            optimizer: self.optimizer.scalars.clone(),
            callbacks,
        };
        let json = serde_json::to_string(&record)
            .map_err(|error| Error::Format { path: path.to_owned(), reason: error.to_string() })?;
        files::write_safetensors(path, &tensors, Some(HashMap::from([(KEY.to_owned(), json)])))
    }

    /// The settings of the training.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The logs of the epochs done.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The network's variables as the training goes on with them.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Their moving average, where the training keeps one.
    pub fn average(&self) -> Option<&Weights> {
        self.average.as_ref()
    }

    /// The epoch it goes on in, from 1, and how many of its batches are done.
    pub fn position(&self) -> (u32, u32) {
        (self.position.epoch + 1, self.position.step)
    }
}

impl CallbackRecord {
    fn state(self) -> (String, CallbackState) {
        let Self { name, settings, values } = self;
        (name, CallbackState { settings, values, tensors: Weights::new() })
    }
}
