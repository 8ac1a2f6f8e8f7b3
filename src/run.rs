//! A training run, from settings to a folder: it reads the faces, trains the network, reports and draws.
//!
//! ```no_run
//! use fer::run::{Run, RunEnd, RunFolder, Settings};
//!
//! let settings = Settings { data: Some("fer2013.csv".into()), ..Settings::default() };
//! let run = Run::new(RunFolder::new("runs/notebook", false)?, settings);
//! if let RunEnd::Finished(result) = run.train(&mut [], &mut std::io::stdout())? {
//!     assert!(result.valid_accuracy > 0.8);
//! }
//! # Ok::<(), fer::Error>(())
//! ```

mod data;
mod folder;
mod recipe;
mod record;
mod report;
mod settings;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use candle_nn::VarMap;
use fer_augment::Augment;
use fer_data::{Loader, LoaderConfig, Shape, Source};
use fer_model::{Input, ModelConfig};
use fer_nn::Graph;
use fer_train::{
    Batches, Callback, CsvLogger, EarlyStopping, Ended, ModelCheckpoint, MonitorMode, Outcome,
    ReduceLrOnPlateau, TensorBoard, Trainer,
};

pub use data::Faces;
#[cfg(feature = "commands")]
pub(crate) use data::{title, with_ferplus};
pub use folder::RunFolder;
pub use record::{Record, RunResult};
pub use settings::Settings;

use crate::page::{Page, command_line};
use crate::{DeviceLoader, Error, Output, Result, write_file};
use watch::Watch;

/// A training, as it is to be made.
#[derive(Debug)]
pub struct Run {
    /// What it is made from. Of a run that is resumed, only the number of epochs and where data and votes lie may be changed.
    pub settings: Settings,
    /// Where the network is; the CPU unless another device is set.
    pub device: Device,
    /// Whether `report.html` shows the faces of the surest mistakes.
    pub with_faces: bool,
    /// Ends the training after its present batches once it is set, with everything saved to resume from.
    pub interrupt: Arc<AtomicBool>,
    folder: RunFolder,
    /// What the run to resume has recorded.
    recorded: Option<Record>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// Everything is written.
    Finished(RunResult),
    /// It was interrupted before the training began. Nothing was written, and nothing deleted.
    NotBegun,
    /// It was interrupted, and everything is saved to resume from.
    Interrupted {
        /// The epoch it goes on in, from 1.
        epoch: u32,
        /// How many batches of that epoch are done.
        steps: u32,
    },
}

impl Run {
    /// A new run into `folder`. What is there already is deleted once the data has been read.
    pub fn new(folder: RunFolder, settings: Settings) -> Self {
        Self {
            settings,
            device: Device::Cpu,
            with_faces: false,
            interrupt: Arc::default(),
            folder,
            recorded: None,
        }
    }

    /// Goes on with the run in the folder `path`, as if it had never stopped.
    ///
    /// # Errors
    /// Those of [`RunFolder::open`].
    pub fn resume(path: impl Into<PathBuf>) -> Result<Self> {
        let (folder, record) = RunFolder::open(path)?;
        Ok(Self { recorded: Some(record.clone()), ..Self::new(folder, record.settings) })
    }

    /// Trains, and writes the folder's files. `callbacks` come after the run's own; `out` is told what there is and what came
    /// of it, the latter when all files are written.
    ///
    /// # Errors
    /// When the settings are invalid, the data cannot be read or is not that of the run to resume, the training fails or a
    /// file cannot be written. What `out` says comes last, and a closed pipe is no error.
    pub fn train(&self, callbacks: &mut [&mut dyn Callback], out: &mut dyn Write) -> Result<RunEnd> {
        let mut out = Output::new(out);
        let end = self.train_telling(callbacks, &mut out)?;
        out.finish()?;
        Ok(end)
    }

    fn train_telling(&self, callbacks: &mut [&mut dyn Callback], out: &mut Output) -> Result<RunEnd> {
        let mut settings = self.settings.clone();
        settings.check()?;
        if let Some(record) = &self.recorded {
            record.settings.check_resumed(&settings)?;
        }
        settings.compute.check(&self.device)?;
        let faces = Faces::read(&settings, out)?;
        let mut record = self.record(settings, &faces)?;
        if self.interrupt.load(Ordering::Relaxed) {
            return Ok(RunEnd::NotBegun);
        }
        let names = faces.chosen.encoder().names().into_iter().map(String::from).collect();
        let Shape { channels, height, width } = faces.chosen.shape();
        let input = Input { channels, height, width };
        let model = ModelConfig::new(record.settings.model.clone(), input, names)?
            .preprocessed(record.settings.preprocessing)?;
        // Nothing is deleted for a run that cannot be.
        let (train, valid) = self.batches(&record.settings, &faces)?;
        if self.recorded.is_none() {
            self.folder.clear()?;
        }
        self.folder.write_record(&record)?;
        faces.subsets.write_csv(self.folder.join("split.csv"))?;

        let settings = &record.settings;
        let weights = VarMap::new();
        let vb = fer_nn::var_builder(&weights, settings.train.seed, &self.device);
        let network = model.network(vb)?.compute(settings.compute);
        writeln!(out, "\n{}", model.summary()?)?;
        writeln!(
            out,
            "Train for {} steps an epoch, at most {} epochs, seed {}; validate on {} samples",
            train.steps(),
            settings.train.epochs,
            settings.train.seed,
            valid.samples(),
        )?;

        let page = record.page(&faces.chosen.audit(), &model.summary()?);
        let outcome = self.fit(&network, &weights, [&train, &valid], settings, &page, callbacks)?;
        if let Ended::Interrupted { epoch, steps } = outcome.ended {
            return Ok(RunEnd::Interrupted { epoch, steps });
        }

        fer_model::save(self.folder.path(), &model, &weights)?;
        let (result, parts, text) =
            report::write(&self.folder, &faces, &outcome.history, settings.views, self.with_faces)?;
        record.result = Some(result.clone());
        let page = page.finished(&result, outcome.history.epochs, parts);
        write_file(self.folder.join("report.html"), page.html(false))?;
        self.folder.write_record(&record)?;
        writeln!(out, "{text}{}", self.folder.path().display())?;
        Ok(RunEnd::Finished(result))
    }

    fn fit(
        &self,
        network: &Graph,
        weights: &VarMap,
        [train, valid]: [&DeviceLoader; 2],
        settings: &Settings,
        page: &Page,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<Outcome> {
        // The notebook's two, in its order; the others watch.
        let mut early_stopping = EarlyStopping::new(settings.early_stopping.clone());
        let mut reduce_lr = ReduceLrOnPlateau::new(settings.reduce_lr.clone())?;
        let best = self.folder.join("checkpoint/best.safetensors");
        let mut best = ModelCheckpoint::best(best, "val_accuracy", MonitorMode::Max);
        let mut csv = CsvLogger::new(self.folder.join("history.csv"));
        let mut tensorboard = TensorBoard::new(self.folder.join("tensorboard"));
        let mut watch = Watch { path: self.folder.join("report.html"), page: page.clone() };
        let mut all: Vec<&mut dyn Callback> =
            vec![&mut early_stopping, &mut reduce_lr, &mut best, &mut csv, &mut tensorboard, &mut watch];
        for callback in callbacks {
            all.push(&mut **callback);
        }
        let trainer = Trainer::new(settings.train.clone())?
            .checkpoint(self.folder.join("checkpoint/state.safetensors"))
            .resume(self.recorded.is_some())
            .interrupt(self.interrupt.clone());
        Ok(trainer.fit(network, weights, train, Some(valid), &mut all)?)
    }

    /// The record of a run that has only begun. A run to resume must have had the same faces.
    fn record(&self, settings: Settings, faces: &Faces) -> Result<Record> {
        let source = faces.chosen.source().clone();
        if let Some(Record { source: Source { md5, .. }, ferplus, .. }) = &self.recorded {
            if source.md5 != *md5 {
                let reason = format!("md5 is {}, the run to resume used {md5}", source.md5);
                return Err(Error::Format { path: source.path.into(), reason });
            }
            if faces.ferplus != *ferplus {
                return Err(Error::Settings("FER+: the run to resume used other votes".into()));
            }
        }
        Ok(Record {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: match &self.recorded {
                Some(record) => record.command.clone(),
                None => command_line(),
            },
            source,
            split: faces.subsets.leakage(),
            ferplus: faces.ferplus.clone(),
            constant: faces.constant,
            device: fer_nn::device_name(&self.device),
            threads: rayon::current_num_threads(),
            result: None,
            settings,
        })
    }

    /// The batches to train and to validate on.
    fn batches(&self, settings: &Settings, faces: &Faces) -> Result<(DeviceLoader, DeviceLoader)> {
        let &Settings { batch_size, drop_last, .. } = settings;
        let loader = LoaderConfig { batch_size, drop_last, seed: settings.train.seed, ..Default::default() };
        let unshuffled = LoaderConfig { shuffle: false, drop_last: false, ..loader };
        let (mean, deviation) = (settings.preprocessing.mean, settings.preprocessing.deviation);
        let on_device = |loader| DeviceLoader::new(loader, self.device.clone()).standardized(mean, deviation);
        let train = on_device(Loader::new(faces.subsets.train.clone(), loader)?)
            .augmented(Augment::new(settings.augment.clone())?);
        let train = match settings.mixup {
            Some(mixup) => train.mixed(mixup),
            None => train,
        };
        Ok((train, on_device(Loader::new(faces.subsets.valid.clone(), unshuffled)?)))
    }
}
