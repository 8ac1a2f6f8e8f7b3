//! Imports a Keras model.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fer_data::EMOTIONS;
use fer_model::keras::{self, Imported, Structure};
use fer_model::{Error as ModelError, Preprocessing};

use crate::{Error, Result};

/// Turns a Keras model, a `.keras` or `.h5` file, into a model of this project.
#[derive(Debug, Parser)]
pub struct Args {
    /// The file, of Keras 2 or Keras 3: a whole model, or weights alone.
    #[arg(long)]
    pub h5: PathBuf,
    /// For weights alone: the network, as model.to_json() wrote it [default: model.json beside the file].
    #[arg(long, value_name = "FILE")]
    pub model_json: Option<PathBuf>,
    /// For weights alone of the notebook's network (ELU, a batch norm after each convolution): the side of its images.
    #[arg(long, value_name = "PIXELS", conflicts_with = "model_json")]
    pub notebook_side: Option<usize>,
    /// The mean that was taken from pixels of 0 to 1 before the network saw them.
    #[arg(long, default_value_t = 0.0)]
    pub mean: f32,
    /// What they were divided by then.
    #[arg(long, default_value_t = 1.0)]
    pub deviation: f32,
    /// The names of the classes, in the order of the network's outputs [default: happy,sad,neutral for three
    /// classes, FER2013's names for seven, class_0,class_1,… otherwise].
    #[arg(long, value_delimiter = ',')]
    pub label_names: Option<Vec<String>>,
    /// The folder for model.safetensors and model.toml.
    #[arg(long)]
    pub out: PathBuf,
    /// Delete the run or the results in --out first.
    #[arg(long)]
    pub overwrite: bool,
}

/// Writes the model, and says what it is and what was assumed.
///
/// # Errors
/// When the file is no Keras model or has a layer that cannot be imported, the names are not one a class, or the model
/// cannot be written; what `out` says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let folder = super::folder(&args.out, args.overwrite, "--overwrite deletes them")?;
    let imported = imported(args, out)?;
    let labels = args.label_names.clone().unwrap_or_else(|| default_labels(imported.classes));
    let given = Preprocessing { mean: args.mean, deviation: args.deviation, ..Preprocessing::default() };
    let config = imported.config(labels)?;
    let config = match (imported.preprocessing, given == Preprocessing::default()) {
        (Some(_), false) => {
            return Err(Error::Settings(
                "the model rescales pixels itself: --mean and --deviation do not go with it".into(),
            ));
        }
        (Some(_), true) => config,
        (None, _) => config.preprocessed(given)?,
    };
    let summary = config.summary()?;
    folder.clear()?;
    fer_model::save(folder.path(), &config, &imported.tensors)?;
    write!(out, "{summary}")?;
    imported.notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    if imported.preprocessing.is_none() {
        writeln!(
            out,
            "pixels: (v/255 - {}) / {}, which the file does not say: --mean and --deviation change it",
            args.mean, args.deviation
        )?;
    }
    writeln!(out, "labels: {}", config.labels.join(", "))?;
    if args.label_names.is_none() {
        writeln!(
            out,
            "These names are assumed: the file has none. Look at some faces whose expression you know, and give --label-names \
             in the order that the network was trained in if they do not fit."
        )?;
    }
    writeln!(out, "written to {}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// The network in the file, with the description that flags give or that lies beside it.
fn imported(args: &Args, out: &mut dyn Write) -> Result<Imported> {
    let json = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(Structure::Json(text)),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    };
    let structure = match (&args.model_json, args.notebook_side) {
        (Some(path), _) => Some(json(path)?),
        (None, Some(side)) => Some(Structure::Notebook { side }),
        (None, None) => None,
    };
    if let Some(structure) = structure {
        return Ok(keras::import_weights(&args.h5, &structure)?);
    }
    match keras::import(&args.h5) {
        Err(ModelError::KerasWeightsAlone { .. }) if args.h5.with_file_name("model.json").is_file() => {
            let beside = args.h5.with_file_name("model.json");
            writeln!(out, "the network is that of {}", beside.display())?;
            Ok(keras::import_weights(&args.h5, &json(&beside)?)?)
        }
        Err(e @ ModelError::KerasWeightsAlone { .. }) => {
            Err(Error::Settings(format!("{e}: --model-json FILE, or --notebook-side 48")))
        }
        imported => Ok(imported?),
    }
}

fn default_labels(classes: usize) -> Vec<String> {
    match classes {
        3 => ["happy", "sad", "neutral"].map(String::from).to_vec(),
        7 => EMOTIONS.map(String::from).to_vec(),
        _ => (0..classes).map(|class| format!("class_{class}")).collect(),
    }
}
