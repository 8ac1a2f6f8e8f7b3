//! Says what a model sees in images: one JSON line an image.
#![allow(clippy::print_stderr, reason = "an example talks to a person")]

use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fer::model::{Classifier, Prediction};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Says what a model sees in images: one JSON line an image.
#[derive(Parser)]
struct Args {
    /// A folder with model.safetensors and model.toml.
    #[arg(long)]
    model: PathBuf,
    /// PNG or JPEG files, each filled by a face.
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
        let answer = predict(classifier, source);
        all &= answer.is_ok();
        serde_json::to_writer(&mut out, &Line { source, answer })?;
        writeln!(out)?;
    }
    Ok(all)
}

fn predict(classifier: &Classifier, source: &Path) -> Result<Prediction, String> {
    let bytes = std::fs::read(source).map_err(|e| e.to_string())?;
    classifier.predict_encoded(&bytes).map_err(|e| e.to_string())
}

/// `{"source":…,"label":…,"probabilities":{…}}` or `{"source":…,"error":…}`.
struct Line<'a> {
    source: &'a Path,
    answer: Result<Prediction, String>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("source", &self.source.to_string_lossy())?;
        match &self.answer {
            Ok(prediction) => {
                line.serialize_entry("label", &prediction.label)?;
                line.serialize_entry("probabilities", &InOrder(&prediction.probabilities))?;
            }
            Err(e) => line.serialize_entry("error", e)?,
        }
        line.end()
    }
}

/// A map whose keys keep their order.
struct InOrder<'a>(&'a [(String, f32)]);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, p)| (label, p)))
    }
}
