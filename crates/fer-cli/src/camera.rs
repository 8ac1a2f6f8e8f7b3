//! `fer camera`: what the faces before a camera show, as it happens.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use fer::plot::annotated;
use fer::{Output, Tracker, TrackerConfig};
use image::{RgbImage, imageops};

use crate::failure::Failure;
use crate::interrupt::interrupt;
use crate::model::{ModelArgs, seconds};
use crate::predict::annotations;
use crate::video::ffmpeg::{self, Frames};
use crate::video::{Changes, Pace, Seen, analyse, untracked};

/// Frames a second that a camera is asked for.
const RATE: f64 = 30.0;
/// The width of the live view in characters.
const COLUMNS: u32 = 76;

/// Say what the faces before a camera show, as it happens, until Ctrl-C.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The camera.
    #[arg(long, default_value = "/dev/video0")]
    device: PathBuf,
    /// Read a video at its own speed in the place of a camera.
    #[arg(long, value_name = "VIDEO", conflicts_with = "device")]
    file: Option<PathBuf>,
    /// Show the picture in the terminal, which must know 24-bit colours.
    #[arg(long)]
    live: bool,
    /// Smooth probabilities over so many seconds; 0 leaves them as they are.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    smooth: f64,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.model.start_threads()?;
    if args.live && !stdout().is_terminal() {
        return Err("--live needs a terminal".into());
    }
    let frames = open(args)?;
    let recognizer = args.model.recognizer()?;
    let mut tracker = Tracker::new(TrackerConfig { smooth: args.smooth, ..Default::default() });
    let interrupted = interrupt()?;
    let mut lines = stdout();
    let mut changes = Changes::new((!args.live).then(|| Output::new(&mut lines)));
    let view = args.live.then(View::open).transpose()?;
    let pace = Pace { start: 0, every: 1, live: true };
    analyse(&recognizer, &mut tracker, frames, pace, |seen: Seen| {
        changes.print(&seen);
        if let Some(view) = &view {
            view.show(&annotated(&seen.picture, &annotations(&untracked(&seen.faces))))?;
        }
        Ok(!interrupted.load(Ordering::Relaxed))
    })?;
    changes.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn open(args: &Args) -> Result<Frames, Failure> {
    if let Some(file) = &args.file {
        let (rate, _) = ffmpeg::probe(file)?;
        return Frames::open(&["-re"], file, rate);
    }
    if !args.device.exists() {
        let found: Vec<String> = cameras().iter().map(|path| path.display().to_string()).collect();
        let found = if found.is_empty() {
            "none was found".to_owned()
        } else {
            format!("found {}", found.join(", "))
        };
        return Err(format!("{}: no such camera; {found}", args.device.display()).into());
    }
    Frames::open(&["-f", "v4l2"], &args.device, RATE)
}

/// `/dev/video*`.
fn cameras() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_camera = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("video"))
    };
    let mut found: Vec<PathBuf> = entries.filter(is_camera).collect();
    found.sort();
    found
}

/// A picture in the terminal, two of its pixels a character, on the screen that is left again at the end.
struct View;

impl View {
    fn open() -> std::io::Result<Self> {
        write!(stdout(), "\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }

    fn show(&self, picture: &RgbImage) -> std::io::Result<()> {
        let mut out = stdout().lock();
        out.write_all(characters(picture, COLUMNS).as_bytes())?;
        out.flush()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = write!(stdout(), "\x1b[?25h\x1b[?1049l");
        let _ = stdout().flush();
    }
}

/// The picture as upper half blocks, each with the colour of two pixels, from the upper left corner of the screen.
fn characters(picture: &RgbImage, columns: u32) -> String {
    let lines = (columns * picture.height() / picture.width().max(1)).div_ceil(2).max(1);
    let small = imageops::resize(picture, columns, lines * 2, imageops::FilterType::Triangle);
    let mut text = "\x1b[H".to_owned();
    for line in 0..lines {
        for column in 0..columns {
            let [r, g, b] = small.get_pixel(column, line * 2).0;
            let [br, bg, bb] = small.get_pixel(column, line * 2 + 1).0;
            let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{br};{bg};{bb}m▀");
        }
        text += "\x1b[0m\r\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_picture_becomes_half_blocks_of_two_colours() {
        let picture = RgbImage::from_fn(4, 4, |_, y| Rgb([if y < 2 { 0 } else { 255 }; 3]));
        let text = characters(&picture, 4);
        assert_eq!(text.matches('▀').count(), 8);
        assert!(text.starts_with("\x1b[H\x1b[38;2;0;0;0;48;2;0;0;0m▀") && text.contains("38;2;255;255;255"));
        assert_eq!(characters(&RgbImage::new(0, 0), 2).matches('▀').count(), 2);
    }
}
