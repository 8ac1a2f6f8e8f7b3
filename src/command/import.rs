//! Imports a Keras model.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer_data::EMOTIONS;
use fer_model::{ModelConfig, keras};

use crate::Error;

/// Turns a Keras `.h5` file, a whole model or weights alone, into a model of this project.
#[derive(Debug, Parser)]
pub struct Args {
    /// The file, of Keras 2 or Keras 3.
    #[arg(long)]
    pub h5: PathBuf,
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

/// Writes the model, and says what it is.
///
/// # Errors
/// When the file is no Keras model of the DCNN, the names are not one a class, or the model cannot be written; what `out`
/// says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Error> {
    let folder = super::folder(&args.out, args.overwrite, "--overwrite deletes them")?;
    let imported = keras::import(&args.h5)?;
    let labels = args.label_names.clone().unwrap_or_else(|| default_labels(imported.dcnn.classes));
    let config = ModelConfig::dcnn(imported.dcnn, labels)?;
    folder.clear()?;
    fer_model::save(folder.path(), &config, &imported.tensors)?;
    write!(out, "{}", config.summary()?)?;
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

fn default_labels(classes: usize) -> Vec<String> {
    match classes {
        3 => ["happy", "sad", "neutral"].map(String::from).to_vec(),
        7 => EMOTIONS.map(String::from).to_vec(),
        _ => (0..classes).map(|class| format!("class_{class}")).collect(),
    }
}
