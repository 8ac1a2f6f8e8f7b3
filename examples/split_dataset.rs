//! Writes the split of `train_test_split(stratify=…, random_state=…)`, row for row.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer::data::{Dataset, Split, Stratify};

/// Writes the split of scikit-learn's train_test_split, row for row.
#[derive(Parser)]
struct Args {
    /// fer2013.csv (plain, .gz or .zst), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    data: PathBuf,
    /// Keep these labels only.
    #[arg(long, value_delimiter = ',')]
    labels: Option<Vec<u8>>,
    /// The part of the rows to validate on, between 0 and 1.
    #[arg(long, default_value_t = 0.1)]
    test_size: f64,
    /// scikit-learn's random_state.
    #[arg(long, default_value_t = 42)]
    seed: u32,
    /// What is stratified on: the one-hot matrix, as the notebook, or the integer labels.
    #[arg(long, default_value = "one-hot", value_parser = ["one-hot", "label"])]
    stratify: String,
    /// The file to write: row,subset.
    #[arg(long)]
    out: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let all = Dataset::open(&args.data)?;
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
        println!("{name} {:>6} rows, first {first:?}: {}", subset.len(), classes.join(", "));
    }
    println!("{} validation rows also occur in training", subsets.leakage().valid_in_train);
    println!("{}", args.out.display());
    Ok(())
}
