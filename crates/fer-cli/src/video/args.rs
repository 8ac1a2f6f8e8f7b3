//! The flags of `fer video`.

use std::path::PathBuf;

use crate::model::{ModelArgs, seconds};

/// Say what the faces in a video show, frame by frame.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The video, of any kind that FFmpeg reads.
    pub video: PathBuf,
    /// Write the video with boxes and bars here, in H.264, with its sound.
    #[arg(long, value_name = "FILE.mp4")]
    pub out: Option<PathBuf>,
    /// Write a table here: a row a face and frame.
    #[arg(long, value_name = "FILE.csv")]
    pub csv: Option<PathBuf>,
    /// Draw what each of the four longest seen faces shows over time, into this folder.
    #[arg(long, value_name = "DIR")]
    pub timeline: Option<PathBuf>,
    /// Look at every n-th frame only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// Smooth probabilities over so many seconds; 0 leaves them as they are.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    pub smooth: f64,
    /// Go on with what an interrupted run wrote to --out and --csv.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace files that are there already.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}
