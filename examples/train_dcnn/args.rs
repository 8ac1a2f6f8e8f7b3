//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Trains the DCNN, or the network of a recipe: from a file of faces to a model, its report and its figures.
///
/// Without --data it trains a narrow network on faces that the project draws itself.
#[derive(Debug, Parser)]
#[command(name = "train_dcnn")]
pub struct Args {
    /// fer2013.csv (plain, .gz or .zst), icml_face_data.csv, train.csv or a folder of images.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The labels to tell apart [default: 3,4,6].
    #[arg(long, value_delimiter = ',')]
    pub labels: Option<Vec<u8>>,
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
    /// The folder of the run.
    #[arg(long, default_value = "runs/dcnn")]
    pub out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SplitName {
    Notebook,
    Usage,
}
