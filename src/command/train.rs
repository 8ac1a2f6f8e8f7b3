//! Trains a network.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, ValueEnum};
use fer_data::{Duplicates, Split};
use fer_train::Progress;
use serde::de::DeserializeOwned;
use toml::Value;

use crate::command::ReadArgs;
use crate::run::{Run, RunEnd, Settings};
use crate::{Error, Output, Result};

/// Trains the DCNN, or the network of a recipe: from a file of faces to a model, its report and its figures.
///
/// Without --data it trains a narrow network on faces that the project draws itself.
#[derive(Debug, Parser)]
pub struct Args {
    /// fer2013.csv (plain, .gz, .zst or in an archive), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// The labels to tell apart, by their places among the classes from 0 [default: 3,4,6; all of other classes than
    /// FER2013's].
    #[arg(long, value_delimiter = ',')]
    pub labels: Option<Vec<u32>>,
    /// The notebook's stratified tenth, or the official split by Usage [default: notebook].
    #[arg(long)]
    pub split: Option<SplitName>,
    /// What to do with identical images [default: keep].
    #[arg(long, value_parser = ["keep", "drop", "drop-leaked"])]
    pub duplicates: Option<String>,
    /// FER+ votes (fer2013new.csv): relabel by their majority in 7 classes, or as --ferplus-targets says.
    #[arg(long)]
    pub ferplus: Option<PathBuf>,
    /// What to make of FER+ votes in 8 classes: their shares, or the majority's label.
    #[arg(long, value_parser = ["votes", "majority"])]
    pub ferplus_targets: Option<String>,
    /// Settings that the flags do not reach, in TOML (recipes/ has some); flags come before it.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Epochs to train for, unless early stopping comes first [default: 100].
    #[arg(long)]
    pub epochs: Option<u32>,
    /// Images in a step [default: 32].
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// [default: adam]
    #[arg(long, value_parser = ["adam", "nadam", "adamw", "sgd"])]
    pub optimizer: Option<String>,
    /// [default: 0.001]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// The seed of weights, shuffling, augmentation and dropout [default: 42].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads [default: one a core].
    #[arg(long)]
    pub threads: Option<usize>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// On a CUDA device, the numbers to compute with [default: f32].
    #[arg(long, value_parser = ["f32", "tf32", "bf16"])]
    pub precision: Option<String>,
    /// On a CUDA device, algorithms that give the same bits in every run.
    #[arg(long)]
    pub deterministic: bool,
    /// Go on with the run in --out, with its settings.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Delete the run in --out first.
    #[arg(long)]
    pub overwrite: bool,
    /// Show the faces of the surest mistakes in report.html.
    #[arg(long)]
    pub with_faces: bool,
    /// The folder of the run.
    #[arg(long, default_value = "runs/dcnn")]
    pub out: PathBuf,
}

/// The splits that have a name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SplitName {
    /// The notebook's stratified tenth, of seed 42.
    Notebook,
    /// The official one.
    Usage,
}

/// The program that a training runs in.
pub struct Caller<'a> {
    /// How this command is called, before its flags: `fer train`.
    pub command: &'a str,
    /// Where the device, the progress and an interruption are told: the standard error.
    pub err: &'a mut dyn Write,
    /// Whether `err` is a terminal, where progress is a bar that moves.
    pub is_terminal: bool,
    /// Ends the training after its present batches once it is set, with everything saved: Ctrl-C.
    pub interrupt: Arc<AtomicBool>,
}

/// Trains, or goes on with a training. The status is 130 after an interruption.
///
/// With `--threads` it sets the threads of the whole process.
///
/// # Errors
/// When the settings are invalid, the data cannot be read, the training fails or a file cannot be written.
pub fn run(args: &Args, out: &mut dyn Write, caller: Caller) -> Result<ExitCode> {
    let device = fer_nn::device(&args.device)?;
    if args.threads.is_some() {
        super::start_threads(args.threads)?;
    }
    let mut run = match args.resume {
        true => args.resumed()?,
        false => {
            let flags = "--resume goes on with it, --overwrite deletes it";
            Run::new(super::folder(&args.out, args.overwrite, flags)?, args.settings()?)
        }
    };
    let mut err = Output::new(caller.err);
    writeln!(err, "device: {}", fer_nn::device_name(&device))?;
    (run.device, run.interrupt, run.with_faces) = (device, caller.interrupt, args.with_faces);
    let mut progress = match caller.is_terminal {
        true => Progress::bars(&mut err),
        false => Progress::lines(&mut err),
    };
    let end = run.train(&mut [&mut progress], out)?;
    match end {
        RunEnd::Finished(_) => return Ok(ExitCode::SUCCESS),
        RunEnd::NotBegun => writeln!(err, "\ninterrupted before the training began; nothing was written")?,
        RunEnd::Interrupted { epoch, steps } => {
            writeln!(err, "\ninterrupted in epoch {epoch} after {steps} steps; everything is saved")?;
            writeln!(err, "go on with: {} --resume --out {}", caller.command, args.out.display())?;
        }
    }
    Ok(ExitCode::from(130))
}

impl Args {
    /// The settings of a new run: the defaults, then the recipe, then the flags.
    fn settings(&self) -> Result<Settings> {
        let base = if self.data.is_some() { Settings::default() } else { Settings::drawn() };
        let mut settings = match &self.config {
            Some(path) => base.with_recipe(path)?,
            None => base,
        };
        settings.data.clone_from(&self.data);
        self.change(&mut settings)?;
        Ok(settings)
    }

    /// The run to go on with, whose settings flags may only confirm, but for the number of epochs.
    fn resumed(&self) -> Result<Run> {
        if self.config.is_some() {
            return Err(Error::Settings(
                "--config cannot be changed on --resume; the run keeps its settings".into(),
            ));
        }
        let mut run = Run::resume(&self.out)?;
        if self.data.is_some() {
            run.settings.data.clone_from(&self.data);
        }
        self.change(&mut run.settings)?;
        Ok(run)
    }

    /// Puts the flags that were given in the place of the settings.
    fn change(&self, settings: &mut Settings) -> Result<()> {
        if let Some(classes) = &self.read.classes {
            // The notebook's three are of FER2013.
            if *classes != settings.read.classes {
                settings.labels = None;
            }
            settings.read.classes.clone_from(classes);
        }
        if self.read.size.is_some() {
            settings.read.size = self.read.size;
        }
        settings.read.colour |= self.read.colour;
        settings.read.allow_truncated |= self.read.allow_truncated;
        if self.ferplus.is_some() {
            settings.ferplus.clone_from(&self.ferplus);
        }
        if let Some(targets) = &self.ferplus_targets {
            settings.ferplus_targets = Some(targets.parse()?);
        }
        if let Some(labels) = &self.labels {
            settings.labels = Some(labels.clone());
        }
        let split = match self.split {
            Some(SplitName::Usage) => Split::usage(),
            Some(SplitName::Notebook) => Split::default(),
            None => settings.split,
        };
        settings.split = split.duplicates(settings.split.duplicates_of());
        if let Some(duplicates) = &self.duplicates {
            settings.split = settings.split.duplicates(duplicates.parse::<Duplicates>()?);
        }
        if let Some(optimizer) = &self.optimizer {
            settings.train.optimizer.algorithm = named("--optimizer", optimizer)?;
        }
        if let Some(precision) = &self.precision {
            settings.compute.precision = named("--precision", precision)?;
        }
        settings.compute.deterministic |= self.deterministic;
        self.epochs.inspect(|&epochs| settings.train.epochs = epochs);
        self.batch_size.inspect(|&size| settings.batch_size = size);
        self.learning_rate.inspect(|&rate| settings.train.optimizer.learning_rate = rate);
        self.seed.inspect(|&seed| settings.train.seed = seed);
        Ok(())
    }
}

/// What a recipe would call by this name.
fn named<T: DeserializeOwned>(flag: &str, name: &str) -> Result<T> {
    T::deserialize(Value::from(name)).map_err(|e| Error::Settings(format!("{flag} {name}: {e}")))
}
