//! `fer predict`: what the faces in pictures show.

use std::io::{self, BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fer::detect::Rect;
use fer::picture::Decoder;
use fer::plot::{Annotation, annotated};
use fer::{FaceCrop, FaceExpression, Output, Recognizer, write_file};
use fer_files::printable_lines;
use image::{ImageFormat, RgbImage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::prelude::*;

use crate::failure::Failure;
use crate::format::{Answer, Format};
use crate::model::ModelArgs;
use crate::pictures::{DrawnNames, Sources, sources};

/// Pictures whose faces are judged together.
const TOGETHER: usize = 32;

/// Say what the faces in pictures show.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Pictures (PNG, JPEG, BMP, GIF, TIFF, WebP), and folders to search for them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print a JSON object a picture, one a line.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a table with a row a face; a picture without faces has one row, empty but for its name.
    #[arg(long)]
    csv: bool,
    /// Write each picture with boxes and bars into this folder, as NAME.faces.png.
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Each picture is a face already: do not look for faces in it.
    #[arg(long)]
    no_detect: bool,
    /// Take a JPEG that is cut off as far as it goes.
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// A picture on its way through.
struct Read {
    /// The picture, where it is to be drawn on.
    picture: Option<RgbImage>,
    faces: Vec<FaceCrop>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.model.start_threads()?;
    let Sources { pictures, left_out, failed } = sources(&args.paths);
    let recognizer = args.model.recognizer()?;
    if let Some(folder) = &args.draw {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let format = match (args.json, args.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Text,
    };
    let mut stdout = BufWriter::new(stdout());
    let mut answers = Answers::begin(format, Output::new(&mut stdout), recognizer.labels())?;
    for (path, reason) in failed {
        answers.add(&path, &Err(format!("{}: {reason}", path.display())))?;
    }
    let progress = progress(pictures.len());
    let mut names = DrawnNames::default();
    // Pictures that are drawn on stay in memory until their faces are judged.
    let together = if args.draw.is_some() { rayon::current_num_threads() * 2 } else { TOGETHER };
    for part in pictures.chunks(together) {
        // Drawn pictures are wanted also when nobody reads the answers.
        if !answers.out.is_open() && args.draw.is_none() {
            break;
        }
        let read: Vec<Result<Read, String>> =
            part.par_iter().map(|path| read(args, &recognizer, path)).collect();
        let (mut kept, mut found) = (Vec::new(), Vec::new());
        for read in read {
            match read {
                Ok(Read { picture, faces }) => {
                    kept.push(Ok(picture));
                    found.push(faces);
                }
                Err(e) => kept.push(Err(e)),
            }
        }
        let mut judged = recognizer.classify(found)?.into_iter();
        for (path, kept) in part.iter().zip(kept) {
            let answer: Answer = kept.and_then(|picture| {
                let faces = judged.next().unwrap_or_default();
                if let (Some(picture), Some(folder)) = (picture, &args.draw) {
                    draw(&picture, &faces, &folder.join(names.of(path)))?;
                }
                Ok(faces)
            });
            progress.suspend(|| answers.add(path, &answer))?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let Answers { out, failed, .. } = answers;
    out.finish()?;
    if left_out > 0 {
        eprintln!("{left_out} files in folders were left out: their names do not end as a picture's");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a picture and finds its faces.
fn read(args: &Args, recognizer: &Recognizer, path: &Path) -> Result<Read, String> {
    let decoder = Decoder { allow_truncated: args.allow_truncated, ..Decoder::default() };
    let picture = decoder.read(path).map_err(|e| e.to_string())?.into_rgb8();
    let faces = match args.no_detect {
        true => vec![FaceCrop::whole(picture.clone())],
        false => recognizer.find(&picture).map_err(|e| format!("{}: {e}", path.display()))?,
    };
    Ok(Read { faces, picture: args.draw.is_some().then_some(picture) })
}

fn draw(picture: &RgbImage, faces: &[FaceExpression], path: &Path) -> Result<(), String> {
    let mut png = io::Cursor::new(Vec::new());
    let drawn = annotated(picture, &annotations(faces));
    drawn.write_to(&mut png, ImageFormat::Png).map_err(|e| format!("{}: {e}", path.display()))?;
    write_file(path, png.into_inner()).map_err(|e| e.to_string())
}

/// The best guess above each face; all bars beside a single face, the highest three where there are more.
pub fn annotations(faces: &[FaceExpression]) -> Vec<Annotation<'_>> {
    faces.iter().map(|found| annotation(found, faces.len() > 1)).collect()
}

fn annotation(FaceExpression { face, prediction }: &FaceExpression, few: bool) -> Annotation<'_> {
    let Rect { x, y, width, height } = face.bounds;
    let mut bars: Vec<(&str, f32)> =
        prediction.probabilities.iter().map(|(label, p)| (label.as_str(), *p)).collect();
    let best = bars.iter().map(|&(_, p)| p).fold(0.0, f32::max);
    if few {
        bars.sort_by(|a, b| b.1.total_cmp(&a.1));
        bars.truncate(3);
    }
    let title = format!("{} {:.0} %", prediction.label, best * 100.0);
    Annotation { bounds: [x, y, width, height], title, bars }
}

fn progress(pictures: usize) -> ProgressBar {
    let seen = pictures > TOGETHER && stderr().is_terminal();
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = "{wide_bar} {human_pos}/{human_len} pictures, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(pictures as u64), target).with_style(style)
}

/// Where answers go, and how many pictures could not be read.
struct Answers<'a> {
    format: Format,
    out: Output<'a>,
    classes: usize,
    failed: usize,
}

impl<'a> Answers<'a> {
    fn begin(format: Format, mut out: Output<'a>, labels: &[String]) -> io::Result<Self> {
        format.begin(&mut out, labels)?;
        Ok(Self { format, out, classes: labels.len(), failed: 0 })
    }

    fn add(&mut self, path: &Path, answer: &Answer) -> io::Result<()> {
        if let Err(e) = answer {
            self.failed += 1;
            if self.format == Format::Text {
                eprintln!("error: {}", printable_lines(e));
            }
        }
        self.format.write(&mut self.out, path, answer, self.classes)?;
        self.out.flush()
    }
}
