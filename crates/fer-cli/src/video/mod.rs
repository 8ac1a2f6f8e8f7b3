//! `fer video`: what faces in a video show, frame by frame.

pub mod ffmpeg;
mod output;
mod stream;
mod table;

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use fer::{FaceExpression, Output, TrackedFace, Tracker, TrackerConfig};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Failure;
use crate::interrupt::interrupt;
use crate::model::{ModelArgs, seconds};
pub use ffmpeg::Frames;
pub use output::Changes;
use output::Outputs;
pub use stream::{Pace, Seen, analyse};

/// Say what the faces in a video show, frame by frame.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The video, of any kind that FFmpeg reads.
    video: PathBuf,
    /// Write the video with boxes and bars here, in H.264, with its sound.
    #[arg(long, value_name = "FILE.mp4")]
    out: Option<PathBuf>,
    /// Write a table here: a row a face and frame.
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Draw what each of the four longest seen faces shows over time, into this folder.
    #[arg(long, value_name = "DIR")]
    timeline: Option<PathBuf>,
    /// Look at every n-th frame only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Smooth probabilities over so many seconds; 0 leaves them as they are.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    smooth: f64,
    /// Go on with what an interrupted run wrote to --out and --csv.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace files that are there already.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.model.start_threads()?;
    let video = &args.video;
    if !video.is_file() {
        return Err(format!("{}: no such file", video.display()).into());
    }
    let (rate, frames) = ffmpeg::probe(video)?;
    let recognizer = args.model.recognizer()?;
    let mut tracker = Tracker::new(TrackerConfig { smooth: args.smooth, ..Default::default() });
    let mut outputs = Outputs::open(args, recognizer.labels(), rate, &mut tracker)?;
    let interrupted = interrupt()?;

    let progress = progress(frames);
    progress.set_position(outputs.start());
    let begun = Instant::now();
    let mut stdout = stdout();
    let mut changes = Changes::new(args.csv.is_none().then(|| Output::new(&mut stdout)));
    let (start, mut done) = (outputs.start(), 0);
    let frames = Frames::open(&[], video, rate)?;
    let pace = Pace { start, every: args.every, live: false };
    let end = analyse(&recognizer, &mut tracker, frames, pace, |seen: Seen| {
        progress.suspend(|| changes.print(&seen));
        outputs.write(&seen)?;
        progress.inc(1);
        done += 1;
        Ok(!interrupted.load(Ordering::Relaxed))
    });
    progress.finish_and_clear();
    if interrupted.load(Ordering::Relaxed) {
        outputs.pause()?;
        eprintln!("interrupted after {} frames; what is whole is kept; --resume goes on", start + done);
        return Ok(ExitCode::from(130));
    }
    // What was read before a damage is kept.
    outputs.finish(video)?;
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{done} frames in {seconds:.1} s, {:.1} a second", done as f64 / seconds);
    end?;
    changes.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn progress(frames: Option<u64>) -> ProgressBar {
    let style = match frames {
        Some(_) => "{wide_bar} {human_pos}/{human_len} frames, {per_sec}, {eta} left",
        None => "{spinner} {human_pos} frames, {per_sec}",
    };
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(frames, ProgressDrawTarget::stderr()).with_style(style)
}

/// The faces of a frame as the drawing of pictures takes them.
pub fn untracked(faces: &[TrackedFace]) -> Vec<FaceExpression> {
    let face =
        |tracked: &TrackedFace| FaceExpression { face: tracked.face, prediction: tracked.prediction.clone() };
    faces.iter().map(face).collect()
}

/// The folder beside a video in which its parts are gathered.
fn parts_folder(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".parts");
    out.with_file_name(name)
}
