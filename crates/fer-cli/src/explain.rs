//! `fer explain`: where faces speak for what is said of them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use fer::detect::Rect;
use fer::model::{Classifier, Explainer, HeatMap, Prediction};
use fer::picture::Decoder;
use fer::plot::{Annotation, Heat, annotated, heated, ndarray::ArrayView2};
use fer::{Area, FaceCrop, Recognizer, write_file};
use fer_files::printable;
use image::{DynamicImage, ImageFormat};

use crate::failure::Failure;
use crate::model::ModelArgs;

/// Pixels of the network's input that an occlusion covers at once, and from one to the next.
const COVERED: usize = 12;
const STEP: usize = 3;

/// Draw where the faces of a picture speak for what is said of them.
///
/// The tint is Grad-CAM's: what the network looked at, not why a person would say so.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The picture (PNG, JPEG, BMP, GIF, TIFF, WebP).
    picture: PathBuf,
    /// Where to write the tinted picture, a PNG.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The label to explain [default: the most probable of each face].
    #[arg(long)]
    label: Option<String>,
    /// The layer to explain by [default: the last convolution].
    #[arg(long, conflicts_with = "occlusion")]
    layer: Option<String>,
    /// Cover parts of each face and tint those whose loss costs the label most, which takes longer and needs no gradient.
    #[arg(long)]
    occlusion: bool,
    /// The picture is a face already: do not look for faces in it.
    #[arg(long)]
    no_detect: bool,
    /// Replace the file where there is one.
    #[arg(long)]
    overwrite: bool,
    /// Take a JPEG that is cut off as far as it goes.
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// What is said of a face, and what speaks for it.
struct Explained {
    prediction: Prediction,
    label: String,
    map: HeatMap,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    args.model.start_threads()?;
    if args.out.exists() && !args.overwrite {
        return Err(format!("{} is there already; --overwrite replaces it", args.out.display()).into());
    }
    let classifier = args.model.classifier()?;
    let recognizer = Recognizer::new(args.model.detector()?, classifier.clone());
    let decoder = Decoder { allow_truncated: args.allow_truncated, ..Decoder::default() };
    let picture = decoder.read(&args.picture)?.into_rgb8();
    let faces =
        if args.no_detect { vec![FaceCrop::whole(picture.clone())] } else { recognizer.find(&picture)? };
    let mut explained = Vec::new();
    let explainer = match args.occlusion {
        true => None,
        false => Some(classifier.explainer(args.layer.as_deref())?),
    };
    for FaceCrop { crop, .. } in &faces {
        explained.push(explain(args, &classifier, explainer.as_ref(), crop)?);
    }

    let heats = faces.iter().zip(&explained).map(|(found, explained)| heat(found, &explained.map));
    let heats = heats.collect::<Result<Vec<_>, _>>()?;
    let notes: Vec<Annotation<'_>> = faces.iter().zip(&explained).map(annotation).collect();
    let drawn = annotated(&heated(&picture, &heats), &notes);
    let mut png = io::Cursor::new(Vec::new());
    drawn.write_to(&mut png, ImageFormat::Png)?;
    write_file(&args.out, png.into_inner())?;

    for Explained { prediction, label, map } in &explained {
        let place = map.values.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let place = match place {
            Some((place, value)) if value > 0.0 => {
                let part = |cell: usize, cells: usize| 100.0 * (cell as f32 + 0.5) / cells as f32;
                let (x, y) = (part(place % map.width, map.width), part(place / map.width, map.height));
                format!("most of it {x:.0} % from the left and {y:.0} % from the top of the face")
            }
            _ => "nothing in the face speaks for it".to_owned(),
        };
        writeln!(out, "{label} {:.0} %: {place}", 100.0 * probability(prediction, label))?;
    }
    if faces.is_empty() {
        writeln!(out, "{}: no face", printable(args.picture.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By the explainer, or by covering parts where there is none.
fn explain(
    args: &Args,
    classifier: &Classifier,
    explainer: Option<&Explainer<'_>>,
    face: &DynamicImage,
) -> Result<Explained, Failure> {
    let prediction = classifier.predict(face)?;
    let label = args.label.clone().unwrap_or_else(|| prediction.label.clone());
    let map = match explainer {
        Some(explainer) => explainer.explain(face, &label)?.map,
        None => positive(classifier.occlusion(face, &label, COVERED, STEP)?),
    };
    Ok(Explained { prediction, label, map })
}

/// The parts that cost the label something, the costliest 1.
fn positive(map: HeatMap) -> HeatMap {
    let most = map.values.iter().copied().fold(0.0, f32::max);
    let part = |value: f32| if most > 0.0 { value.max(0.0) / most } else { 0.0 };
    HeatMap { values: map.values.into_iter().map(part).collect(), ..map }
}

/// The map where the classifier saw the face.
fn heat<'a>(found: &FaceCrop, map: &'a HeatMap) -> Result<Heat<'a>, Failure> {
    let Area { center, size, roll } = found.area;
    Ok(Heat { center, size, roll, map: ArrayView2::from_shape((map.height, map.width), &map.values)? })
}

fn annotation<'a>((found, explained): (&FaceCrop, &'a Explained)) -> Annotation<'a> {
    let Rect { x, y, width, height } = found.face.bounds;
    let Explained { prediction, label, .. } = explained;
    let title = format!("{label} {:.0} %", 100.0 * probability(prediction, label));
    Annotation { bounds: [x, y, width, height], title, bars: Vec::new() }
}

fn probability(prediction: &Prediction, label: &str) -> f32 {
    prediction.probabilities.iter().find(|(known, _)| known == label).map_or(0.0, |(_, p)| *p)
}
