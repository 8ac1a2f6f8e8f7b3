//! What comes of a video: table, annotated video, timelines, and lines for a person.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fer::plot::{annotated, timeline};
use fer::{FaceExpression, Output, TrackedFace, Tracker};

use super::args::Args;
use super::ffmpeg::{self, Encoder};
use super::stream::Seen;
use super::table::{self, Row, Table};
use crate::failure::Failure;
use crate::predict::annotations;

/// Frames in a part of the annotated video: what an interruption costs at most.
const PART: u64 = 300;

/// Faces that have a timeline.
const TIMELINES: usize = 4;

/// A face's probabilities over time: seconds, and one a label.
type Points = Vec<(f64, Vec<f32>)>;

/// What a run writes.
pub struct Outputs {
    table: Option<Table>,
    video: Option<Parts>,
    /// Their folder, and the points of each face.
    timelines: Option<(PathBuf, BTreeMap<u64, Points>)>,
    labels: Vec<String>,
    start: u64,
}

impl Outputs {
    /// New files, or those of an interrupted run, whose last faces `tracker` then knows.
    pub fn open(args: &Args, labels: &[String], rate: f64, tracker: &mut Tracker) -> Result<Self, Failure> {
        let wanted = [&args.out, &args.csv];
        let there = wanted.into_iter().flatten().find(|path| path.exists() || parts_folder(path).exists());
        if let Some(path) = there
            && !(args.overwrite || args.resume)
        {
            let name = path.display();
            return Err(format!(
                "{name} is there already; --resume goes on with it, --overwrite replaces it"
            )
            .into());
        }
        if args.resume && args.out.as_ref().is_some_and(|out| !parts_folder(out).exists()) {
            return Err("--resume: there is no interrupted video beside --out".into());
        }
        let video = args.out.as_ref().map(|out| Parts::open(out, rate, args.resume)).transpose()?;
        let mut rows = match &args.csv {
            Some(path) if args.resume => table::read(path, labels)?,
            _ => Vec::new(),
        };
        // The last frame's rows may not all have been written.
        let start = match &video {
            Some(parts) => parts.finished * PART,
            None => rows.last().map_or(0, |row| row.frame),
        };
        rows.retain(|row| row.frame < start);
        let table = match &args.csv {
            Some(path) if args.resume => Some(Table::resume(path, &rows, labels)?),
            Some(path) => Some(Table::create(path, labels)?),
            None => None,
        };
        if let Some(last) = rows.last() {
            let next = rows.iter().flat_map(|row| &row.faces).map(|face| face.id + 1).max();
            tracker.resume(last.time, &last.faces, next.unwrap_or(0));
        }
        let timelines = args.timeline.clone().map(|folder| (folder, BTreeMap::new()));
        let mut outputs = Self { table, video, timelines, labels: labels.to_vec(), start };
        rows.iter().for_each(|Row { time, faces, .. }| outputs.remember(*time, faces));
        Ok(outputs)
    }

    /// The first frame that is still to be looked at.
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn write(&mut self, seen: &Seen) -> Result<(), Failure> {
        if seen.looked {
            self.remember(seen.time, &seen.faces);
            if let Some(table) = &mut self.table {
                table.write(&Row { frame: seen.frame, time: seen.time, faces: seen.faces.clone() })?;
            }
        }
        if let Some(video) = &mut self.video {
            video.write(seen)?;
            // A part that is whole stands beside rows that are.
            if video.current.is_none()
                && let Some(table) = &mut self.table
            {
                table.flush()?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, time: f64, faces: &[TrackedFace]) {
        let Some((_, timelines)) = &mut self.timelines else { return };
        for TrackedFace { id, prediction, .. } in faces {
            let shares = prediction.probabilities.iter().map(|&(_, p)| p).collect();
            timelines.entry(*id).or_default().push((time, shares));
        }
    }

    /// Leaves everything so that a later run can go on with it.
    pub fn pause(self) -> Result<(), Failure> {
        self.table.map_or(Ok(()), |mut table| table.flush())
    }

    /// Ends all files; `original` gives its sound.
    pub fn finish(self, original: &Path) -> Result<(), Failure> {
        let Self { table, video, timelines, labels, .. } = self;
        table.map_or(Ok(()), |mut table| table.flush())?;
        video.map_or(Ok(()), |video| video.finish(original))?;
        let Some((folder, timelines)) = timelines else { return Ok(()) };
        let mut longest: Vec<_> = timelines.into_iter().collect();
        longest.sort_by_key(|(id, points)| (std::cmp::Reverse(points.len()), *id));
        for (id, points) in longest.into_iter().take(TIMELINES) {
            timeline(&format!("face {id}"), &labels, &points)?.save(folder.join(format!("face-{id}")))?;
        }
        Ok(())
    }
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

/// The annotated video in parts, which are whole or not there.
struct Parts {
    out: PathBuf,
    folder: PathBuf,
    rate: f64,
    finished: u64,
    current: Option<(Encoder, u64)>,
}

impl Parts {
    fn open(out: &Path, rate: f64, resume: bool) -> Result<Self, Failure> {
        let folder = parts_folder(out);
        let io = |e: io::Error| format!("{}: {e}", folder.display());
        if !resume && folder.exists() {
            fs::remove_dir_all(&folder).map_err(io)?;
        }
        fs::create_dir_all(&folder).map_err(io)?;
        let finished = (0..).find(|&part| !part_path(&folder, part).exists()).unwrap_or(0);
        Ok(Self { out: out.to_owned(), folder, rate, finished, current: None })
    }

    fn write(&mut self, seen: &Seen) -> Result<(), Failure> {
        let picture = annotated(&seen.picture, &annotations(&untracked(&seen.faces)));
        let (mut encoder, frames) = match self.current.take() {
            Some(current) => current,
            None => (Encoder::create(&self.unfinished(), picture.dimensions(), self.rate)?, 0),
        };
        encoder.write(&picture)?;
        self.current = Some((encoder, frames + 1));
        if frames + 1 == PART { self.end_part() } else { Ok(()) }
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished.mp4")
    }

    fn end_part(&mut self) -> Result<(), Failure> {
        let Some((encoder, _)) = self.current.take() else { return Ok(()) };
        encoder.finish()?;
        fs::rename(self.unfinished(), part_path(&self.folder, self.finished))?;
        self.finished += 1;
        Ok(())
    }

    fn finish(mut self, original: &Path) -> Result<(), Failure> {
        self.end_part()?;
        let parts: Vec<PathBuf> = (0..self.finished).map(|part| part_path(&self.folder, part)).collect();
        if parts.is_empty() {
            return Err("no frame to write".into());
        }
        let whole = self.folder.join("whole.mp4");
        ffmpeg::join(&parts, original, &whole)?;
        fs::rename(&whole, &self.out).map_err(|e| format!("{}: {e}", self.out.display()))?;
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}

fn part_path(folder: &Path, part: u64) -> PathBuf {
    folder.join(format!("{part:05}.mp4"))
}

/// A line when what a face shows changes.
pub struct Changes<'a> {
    out: Option<Output<'a>>,
    labels: BTreeMap<u64, String>,
}

impl<'a> Changes<'a> {
    pub fn new(out: Option<Output<'a>>) -> Self {
        Self { out, labels: BTreeMap::new() }
    }

    pub fn print(&mut self, seen: &Seen) {
        let Some(out) = self.out.as_mut().filter(|_| seen.looked) else { return };
        for TrackedFace { id, prediction, .. } in &seen.faces {
            if self.labels.get(id) == Some(&prediction.label) {
                continue;
            }
            self.labels.insert(*id, prediction.label.clone());
            let best = prediction.probabilities.iter().map(|&(_, p)| p).fold(0.0, f32::max);
            // An output keeps what fails to its end.
            let _ =
                writeln!(out, "{:8.2} s  face {id}: {} {:.0} %", seen.time, prediction.label, best * 100.0);
        }
    }

    pub fn finish(self) -> io::Result<()> {
        self.out.map_or(Ok(()), Output::finish)
    }
}
