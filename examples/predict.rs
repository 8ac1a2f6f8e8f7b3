//! Says what a model sees in images: one JSON line an image.
#![allow(clippy::print_stderr, reason = "an example talks to a person")]

use std::borrow::Cow;
use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer::model::{Classifier, Prediction};
use serde::Serialize;

/// Says what a model sees in images: one JSON line an image.
#[derive(Parser)]
struct Args {
    /// A folder with model.safetensors and model.toml.
    #[arg(long)]
    model: PathBuf,
    /// Pictures, each filled by a face.
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let classifier = match Classifier::open(&args.model) {
        Ok(classifier) => classifier,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::FAILURE;
        }
    };
    match answer(&classifier, &args.images) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read the answers has had enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line an image; false when one could not be read.
fn answer(classifier: &Classifier, images: &[PathBuf]) -> io::Result<bool> {
    let mut out = stdout().lock();
    let mut all = true;
    for source in images {
        let (prediction, error) = match classifier.predict_file(source) {
            Ok(prediction) => (Some(prediction), None),
            Err(e) => (None, Some(e.to_string())),
        };
        all &= error.is_none();
        serde_json::to_writer(&mut out, &Line { source: source.to_string_lossy(), prediction, error })?;
        writeln!(out)?;
    }
    Ok(all)
}

/// `{"source":…,"label":…,"probabilities":{…}}` or `{"source":…,"error":…}`.
#[derive(Serialize)]
struct Line<'a> {
    source: Cow<'a, str>,
    #[serde(flatten)]
    prediction: Option<Prediction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}
