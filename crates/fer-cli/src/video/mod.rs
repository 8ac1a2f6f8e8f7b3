//! `fer video`: what faces in a video show, frame by frame.

mod args;
pub mod ffmpeg;
mod output;
mod stream;
mod table;

use std::io::stdout;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use fer::{Output, Tracker, TrackerConfig};
use ffmpeg::Frames;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::interrupt::interrupt;
pub use args::Args;
use output::Outputs;
pub use output::{Changes, untracked};
pub use stream::{Pace, Seen, analyse};

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
