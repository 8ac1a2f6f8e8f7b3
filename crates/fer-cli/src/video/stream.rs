//! Frames through the recognizer and the tracker, in order.

use std::sync::mpsc::{Receiver, TrySendError, sync_channel};

use fer::{FaceCrop, Recognizer, TrackedFace, Tracker};
use image::RgbImage;
use rayon::prelude::*;

use super::ffmpeg::Frames;
use crate::failure::Failure;

/// A frame with its faces.
pub struct Seen {
    /// Its number in the video, from 0.
    pub frame: u64,
    /// Seconds from the start.
    pub time: f64,
    pub picture: RgbImage,
    /// The faces; those of the last frame that was looked at where this one was not.
    pub faces: Vec<TrackedFace>,
    /// Whether this frame was looked at.
    pub looked: bool,
}

/// Which frames are looked at, and when.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The first frame.
    pub start: u64,
    /// Every so many frames one is looked at.
    pub every: u64,
    /// Frames come when they come: those that arrive while another is looked at are left out.
    pub live: bool,
}

type Frame = Result<(u64, RgbImage), Failure>;

/// Frames from a thread that reads ahead.
fn read_ahead(mut frames: Frames, pace: Pace, ahead: usize) -> Receiver<Frame> {
    let (to, from) = sync_channel(ahead);
    std::thread::spawn(move || {
        for number in 0.. {
            let next = match frames.next() {
                Ok(Some(frame)) if number >= pace.start => Ok((number, frame)),
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(e) => Err(e),
            };
            let last = next.is_err();
            let gone = match pace.live && !last {
                true => matches!(to.try_send(next), Err(TrySendError::Disconnected(_))),
                false => to.send(next).is_err(),
            };
            if gone || last {
                break;
            }
        }
    });
    from
}

/// How a stream ended: none while it goes on.
type End = Option<Result<(), Failure>>;

/// At most `count` frames; and how the stream ended, once it has.
fn take(from: &Receiver<Frame>, count: usize) -> (Vec<(u64, RgbImage)>, End) {
    let mut part = Vec::with_capacity(count);
    while part.len() < count {
        match from.recv() {
            Ok(Ok(frame)) => part.push(frame),
            Ok(Err(e)) => return (part, Some(Err(e))),
            Err(_) => return (part, Some(Ok(()))),
        }
    }
    (part, None)
}

/// Gives each frame on to `f`, with its faces. `f` says whether to go on.
///
/// # Errors
/// Those of `f`; and, after all frames that could be read, what is wrong with the video.
pub fn analyse(
    recognizer: &Recognizer,
    tracker: &mut Tracker,
    frames: Frames,
    pace: Pace,
    mut f: impl FnMut(Seen) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let rate = frames.rate();
    // So many that every thread has a frame to look at; of a camera the newest.
    let together = if pace.live { 1 } else { rayon::current_num_threads() * 2 };
    let from = read_ahead(frames, pace, together);
    let is_looked_at = |frame: u64| frame.is_multiple_of(pace.every);
    let mut last: Vec<TrackedFace> = Vec::new();
    loop {
        let (part, end) = take(&from, together);
        let found: Vec<Vec<FaceCrop>> = part
            .par_iter()
            .filter(|(frame, _)| is_looked_at(*frame))
            .map(|(_, picture)| recognizer.find(picture))
            .collect::<Result<_, _>>()?;
        let mut found = recognizer.classify(found)?.into_iter();
        for (frame, picture) in part {
            let (time, looked) = (frame as f64 / rate, is_looked_at(frame));
            if looked {
                last = tracker.update(time, found.next().unwrap_or_default());
            }
            if !f(Seen { frame, time, picture, faces: last.clone(), looked })? {
                return Ok(());
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}
