//! Where faces lie in FER2013's pictures, and what that knowledge is worth: faces of PublicTest in a larger photo, found, cut out
//! and judged.
#![allow(clippy::print_stderr, reason = "an example talks to a person")]

mod framing;
mod scene;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fer::data::{Dataset, FerPlus, Usage};
use fer::detect::{Detector, DetectorConfig, Face};
use fer::model::Classifier;
use fer::{Output, plot, write_file};
use image::{DynamicImage, GrayImage, RgbImage, imageops};
use rayon::prelude::*;

use scene::Pasted;

/// Where faces lie in FER2013's pictures, and what that knowledge is worth.
#[derive(Parser)]
struct Args {
    /// fer2013.csv (plain, .gz or .zst).
    #[arg(long)]
    data: PathBuf,
    /// FER+ votes (fer2013new.csv).
    #[arg(long)]
    ferplus: PathBuf,
    /// A folder with model.safetensors and model.toml [default: the model that comes with the project].
    #[arg(long)]
    model: Option<PathBuf>,
    /// A photo without a face, for the faces to be put in.
    #[arg(long, default_value = "crates/fer-detect/tests/photos/coffee.png")]
    scene: PathBuf,
    /// Faces of PublicTest to try.
    #[arg(long, default_value_t = 1000)]
    faces: usize,
    /// The folder for the table and the figures.
    #[arg(long)]
    out: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sides of the square that a face's picture becomes in the photo.
const SIDES: [f32; 4] = [40.0, 80.0, 160.0, 320.0];
/// How far it is turned, to either side.
const ANGLES: [f32; 3] = [0.0, 15.0, 30.0];

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
    let classifier = match &args.model {
        Some(folder) => Classifier::open(folder)?,
        None => Classifier::pretrained()?,
    };
    let all = Dataset::open(&args.data)?;
    let mut stdout = std::io::stdout();
    let mut out = Output::new(&mut stdout);
    writeln!(out, "{}", framing::measure(&all.select_usage(Usage::Training)?)?)?;

    let (voted, _) = all.with_ferplus_votes(&FerPlus::open(&args.ferplus)?)?;
    let public = voted.select_usage(Usage::PublicTest)?.without_ties();
    let step = public.len().div_ceil(args.faces.max(1)).max(1);
    let rows: Vec<usize> = (0..public.len()).step_by(step).collect();
    let faces: Vec<GrayImage> = rows.iter().map(|&row| picture(&public, row)).collect();
    let truth: Vec<&str> = rows
        .iter()
        .map(|&row| public.label(row).and_then(|l| public.encoder().name(l)).unwrap_or(""))
        .collect();
    let original = right(&classifier, &truth, faces.iter().map(|face| face.clone().into()).collect())?;
    let scene = scene::open(&args.scene)?;

    let mut text = format!(
        "{} faces of PublicTest, accuracy as they are {:.4}\n\n\
         | side | angle | search | found | as they are | cut as FER2013's | lost | the detector's box | lost |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        rows.len(),
        mean(original.iter().copied()),
    );
    write!(out, "{text}")?;
    let mut found_lines = Vec::new();
    for tilted in [false, true] {
        let detector = Detector::with(DetectorConfig { tilted, ..Default::default() })?;
        for angle in ANGLES {
            let mut line = Vec::new();
            for side in SIDES {
                let found = look(&detector, &scene, &faces, side, angle)?;
                let (seen, crops, boxes) = found;
                let truth: Vec<&str> = seen.iter().map(|&i| truth[i]).collect();
                let before = mean(seen.iter().map(|&i| original[i]));
                let after = mean(right(&classifier, &truth, crops)?.into_iter());
                let naive = mean(right(&classifier, &truth, boxes)?.into_iter());
                let share = seen.len() as f64 / faces.len() as f64;
                let row = format!(
                    "| {side} | {angle}° | {} | {share:.3} | {before:.4} | {after:.4} | {:+.1} | {naive:.4} | {:+.1} |\n",
                    if tilted { "tilted" } else { "upright" },
                    (after - before) * 100.0,
                    (naive - before) * 100.0,
                );
                write!(out, "{row}")?;
                text += &row;
                line.push((f64::from(side), share));
            }
            let name = format!("{angle}°{}", if tilted { " tilted search" } else { "" });
            found_lines.push((name, line));
        }
    }
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        found_lines.iter().map(|(name, line)| (name.as_str(), line.clone())).collect();
    plot::lines("Faces found", ("side of the face's picture, pixels", "part found"), &lines)?
        .save(args.out.join("faces_found"))?;
    write_file(args.out.join("crop_study.md"), text)?;
    Ok(out.finish()?)
}

fn picture(data: &Dataset, row: usize) -> GrayImage {
    data.picture(row).into_luma8()
}

/// Which faces are found, and of each the cut of this project and the bare box of the detector.
type Found = (Vec<usize>, Vec<DynamicImage>, Vec<DynamicImage>);

fn look(
    detector: &Detector,
    scene: &RgbImage,
    faces: &[GrayImage],
    side: f32,
    angle: f32,
) -> Result<Found, Failure> {
    let all: Vec<Option<(usize, DynamicImage, DynamicImage)>> = faces
        .par_iter()
        .enumerate()
        .map(|(i, face)| {
            let angle = if i % 2 == 0 { angle } else { -angle };
            let pasted = Pasted::new(scene, i, side, angle);
            let photo = pasted.photo(scene, face);
            let found = detector.detect_rgb(&photo)?.into_iter().find(|found| pasted.is(found));
            Ok(found.map(|found| (i, found.crop(&photo, 48).into(), bare_box(&found, &photo))))
        })
        .collect::<Result<_, Failure>>()?;
    let mut seen: Found = Default::default();
    for (i, crop, bare) in all.into_iter().flatten() {
        seen.0.push(i);
        seen.1.push(crop);
        seen.2.push(bare);
    }
    Ok(seen)
}

/// What a program does that knows nothing of framing: the box, cut at the photo's edge.
fn bare_box(face: &Face, photo: &RgbImage) -> DynamicImage {
    let b = face.bounds;
    let (x, y) = (b.x.max(0.0) as u32, b.y.max(0.0) as u32);
    let (right, bottom) = ((b.x + b.width) as u32, (b.y + b.height) as u32);
    let (width, height) = (right.min(photo.width()) - x, bottom.min(photo.height()) - y);
    imageops::crop_imm(photo, x, y, width.max(1), height.max(1)).to_image().into()
}

/// 1 for each face whose label is found, else 0.
fn right(classifier: &Classifier, truth: &[&str], faces: Vec<DynamicImage>) -> Result<Vec<f64>, Failure> {
    let answers = classifier.predict_batch(&faces)?;
    Ok(answers.iter().zip(truth).map(|(answer, truth)| f64::from(u8::from(answer.label == *truth))).collect())
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
