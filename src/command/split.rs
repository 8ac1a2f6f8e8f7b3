//! Splits a dataset as scikit-learn does.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer_data::{Dataset, Split, Stratify};

use crate::Result;
use crate::command::ReadArgs;

/// Writes the split of scikit-learn's train_test_split, row for row.
#[derive(Debug, Parser)]
pub struct Args {
    /// fer2013.csv (plain, .gz, .zst or in an archive), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    pub data: PathBuf,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Keep these labels only.
    #[arg(long, value_delimiter = ',')]
    pub labels: Option<Vec<u32>>,
    /// The part of the rows to validate on, between 0 and 1.
    #[arg(long, default_value_t = 0.1)]
    pub test_size: f64,
    /// scikit-learn's random_state.
    #[arg(long, default_value_t = 42)]
    pub seed: u32,
    /// What is stratified on: the one-hot matrix, as the notebook, or the integer labels.
    #[arg(long, default_value = "one-hot", value_parser = ["one-hot", "label"])]
    pub stratify: String,
    /// The file to write: row,subset.
    #[arg(long)]
    pub out: PathBuf,
}

/// Writes the split, and says what is in it.
///
/// # Errors
/// When the data cannot be read or split so, or the file cannot be written; what `out` says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let all = Dataset::open_with(&args.data, &args.read.config())?;
    let data = match &args.labels {
        Some(labels) => all.select(labels)?,
        None => all,
    };
    let split =
        Split::stratified(args.test_size).seed(args.seed).stratify(args.stratify.parse::<Stratify>()?);
    let subsets = data.split(split)?;
    subsets.write_csv(&args.out)?;
    for (name, subset) in [("train", &subsets.train), ("valid", &subsets.valid)] {
        let counts = subset.class_counts();
        let classes: Vec<String> = counts.iter().map(|c| format!("{} {}", c.name, c.rows)).collect();
        let first = &subset.rows()[..subset.len().min(4)];
        writeln!(out, "{name} {:>6} rows, first {first:?}: {}", subset.len(), classes.join(", "))?;
    }
    writeln!(out, "{} validation rows also occur in training", subsets.leakage().valid_in_train)?;
    writeln!(out, "{}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
