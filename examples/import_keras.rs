//! Turns a Keras `.h5` file, a whole model or weights alone, into a model of this project.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer::data::EMOTIONS;
use fer::model::{self, ModelConfig, keras};

/// Turns a Keras `.h5` file, a whole model or weights alone, into a model of this project.
#[derive(Parser)]
struct Args {
    /// The file, of Keras 2 or Keras 3.
    #[arg(long)]
    h5: PathBuf,
    /// The names of the classes, in the order of the network's outputs [default: happy,sad,neutral for three
    /// classes, FER2013's names for seven, class_0,class_1,… otherwise].
    #[arg(long, value_delimiter = ',')]
    label_names: Option<Vec<String>>,
    /// The folder for model.safetensors and model.toml.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), model::Error> {
    let imported = keras::import(&args.h5)?;
    let labels = args.label_names.unwrap_or_else(|| default_labels(imported.dcnn.classes));
    let config = ModelConfig::dcnn(imported.dcnn, labels)?;
    model::save(&args.out, &config, &imported.tensors)?;
    print!("{}", config.summary()?);
    println!("labels: {}", config.labels.join(", "));
    println!("written to {}", args.out.display());
    Ok(())
}

fn default_labels(classes: usize) -> Vec<String> {
    match classes {
        3 => ["happy", "sad", "neutral"].map(String::from).to_vec(),
        7 => EMOTIONS.map(String::from).to_vec(),
        _ => (0..classes).map(|class| format!("class_{class}")).collect(),
    }
}
