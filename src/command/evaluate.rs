//! Evaluates a model on data, or predictions in a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fer_data::{Dataset, Subsets, Usage, Vocabulary};
use fer_model::{Classifier, Views};

use crate::command::{ReadArgs, predictions, results};
use crate::run::{RunFolder, title, with_ferplus};
use crate::{Comparison, Error, Evaluation, Result, write_file};

/// How good a model is on data, or how good predictions in a file are.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder with model.safetensors and model.toml.
    #[arg(long, requires = "data", required_unless_present = "predictions")]
    pub model: Option<PathBuf>,
    /// The faces: any file or folder that train_dcnn reads.
    #[arg(long, requires = "model")]
    pub data: Option<PathBuf>,
    /// How it is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// The labels to evaluate [default: the model's].
    #[arg(long, value_delimiter = ',', requires = "data")]
    pub labels: Option<Vec<u32>>,
    /// Evaluate the validation rows (the test rows, where it has them) of this split file.
    #[arg(long, requires = "data", conflicts_with = "usage")]
    pub split: Option<PathBuf>,
    /// Evaluate the rows of this usage.
    #[arg(long, requires = "data", value_parser = ["PublicTest", "PrivateTest"])]
    pub usage: Option<String>,
    /// FER+ votes (fer2013new.csv): the labels are their majority in 7 classes, or as --ferplus-targets says.
    #[arg(long, requires = "data")]
    pub ferplus: Option<PathBuf>,
    /// Measure by FER+ in 8 classes, on the rows with a single winner, after votes of 1 are taken away.
    #[arg(long, requires = "ferplus", value_parser = ["votes", "majority"])]
    pub ferplus_targets: Option<String>,
    /// Look at each image several times: also mirrored, or also shifted by 3 pixels along the diagonals and mirrored.
    #[arg(long, requires = "model", value_parser = ["mirror", "ten"])]
    pub views: Option<String>,
    /// A CSV file with the columns label and predicted.
    #[arg(long, conflicts_with = "model")]
    pub predictions: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: auto].
    #[arg(long, requires = "model")]
    pub device: Option<String>,
    /// The folder for the report, the predictions and the figure.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write to --out though it holds a run or results; files of the same names are replaced.
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    /// Show the faces of the surest mistakes in report.html.
    #[arg(long)]
    pub with_faces: bool,
}

/// Writes the results where there is a folder for them, and says them.
///
/// # Errors
/// When the folder may not be written to, model, data or predictions cannot be read or do not belong together, or a file
/// cannot be written; what `out` says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let folder = match &args.out {
        Some(path) => {
            Some(super::folder(path, args.overwrite, "--overwrite replaces what is evaluated there")?)
        }
        None => None,
    };
    let text = match (&args.predictions, &args.model, &args.data) {
        (Some(file), ..) => predictions::evaluate(file, folder.as_ref())?,
        (None, Some(model), Some(data)) => evaluate(model, data, args, folder.as_ref(), out)?,
        _ => return Err(Error::Settings("give --model and --data, or --predictions".into())),
    };
    write!(out, "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// What the model makes of the data, as text; with a folder it is written there. `out` is told of what was chosen.
fn evaluate(
    model: &Path,
    data: &Path,
    args: &Args,
    folder: Option<&RunFolder>,
    out: &mut dyn Write,
) -> Result<String> {
    let device = fer_nn::device(args.device.as_deref().unwrap_or("auto"))?;
    let views = match args.views.as_deref() {
        Some("mirror") => Views { mirror: true, shift: 0 },
        Some(_) => Views::TEN,
        None => Views::default(),
    };
    let classifier = Classifier::open_on(model, &device)?.views(views);
    let mut read = args.read.config();
    // A model of colours is shown them.
    read.colour |= classifier.input().channels == 3;
    let faces = Dataset::open_with(data, &read)?;
    writeln!(out, "{}", title(faces.source()))?;
    let recorded = trained_on(&faces, model)?;
    let all = match &args.ferplus {
        Some(votes) => {
            let targets = args.ferplus_targets.as_deref().map(str::parse).transpose()?;
            let (kept, _, words) = with_ferplus(&faces, votes, targets)?;
            writeln!(out, "FER+: {words}")?;
            kept
        }
        None => faces,
    };
    let labels = match &args.labels {
        Some(labels) => labels.clone(),
        None => {
            let votes_in_7 = args.ferplus.is_some() && args.ferplus_targets.is_none();
            let flags = if votes_in_7 { "--ferplus-targets or --labels" } else { "--labels or --classes" };
            labels_of(&classifier, all.encoder().vocabulary(), flags)?
        }
    };
    let chosen = all.select(&labels)?;
    let (data, train) = rows_to_evaluate(&all, &chosen, recorded, args, out)?;
    // A tie has no right answer to be measured by.
    let (rows, data) = (data.len(), data.without_ties());
    match rows - data.len() {
        0 => {}
        ties => writeln!(out, "{ties} ties left out")?,
    }
    let evaluation = Evaluation::new(&classifier, &data)?;
    let mut text = match views.count() {
        1 => String::new(),
        count => format!("{count} views of each image ({views})\n\n"),
    };
    for (class, name) in evaluation.names.iter().enumerate() {
        text += &format!("{class} {name}\n");
    }
    let matrix = evaluation.matrix()?;
    let report = matrix.report().named(&evaluation.names)?;
    text += &format!("\n{report}\n{}\n", matrix.table(&evaluation.names)?);
    let comparison = train.map(|train| Comparison::new(evaluation.clone(), &data, &train));
    text += &match &comparison {
        Some(comparison) => comparison.to_string(),
        None => format!(
            "{} rows\n{}no leak-free twin: give --split or --usage, which tell what was trained on\n",
            evaluation.rows.len(),
            evaluation.scores()?,
        ),
    };
    if let Some(folder) = folder {
        results::write(folder, &text, &matrix, &evaluation.names)?;
        write_file(folder.join("predictions.csv"), evaluation.predictions_csv())?;
        results::draw_probabilities(folder, &evaluation)?;
        results::draw_explanations(folder, &classifier, &data, &evaluation)?;
        results::write_page(folder, model, &data, &evaluation, comparison, args.with_faces)?;
    }
    Ok(text)
}

/// The rows to evaluate, and those that were trained on as far as that is known.
fn rows_to_evaluate(
    all: &Dataset,
    chosen: &Dataset,
    recorded: Option<Dataset>,
    args: &Args,
    out: &mut dyn Write,
) -> Result<(Dataset, Option<Dataset>)> {
    if let Some(file) = &args.split {
        let subsets = Subsets::read_csv(file, chosen)?;
        return Ok((subsets.test.unwrap_or(subsets.valid), Some(subsets.train)));
    }
    if let Some(usage) = &args.usage {
        let train = match recorded {
            Some(train) => Some(train),
            None => {
                writeln!(
                    out,
                    "no run of this data beside the model: Training is taken for what it was trained on"
                )?;
                Some(all.select_usage(Usage::Training)?)
            }
        };
        return Ok((chosen.select_usage(usage.parse()?)?, train));
    }
    Ok((chosen.clone(), recorded))
}

/// The rows of this data, before any FER+, that a model was trained on, when it was on this data: its run is
/// recorded beside it.
fn trained_on(all: &Dataset, model: &Path) -> Result<Option<Dataset>> {
    let path = model.join("run.json");
    let Ok(record) = std::fs::read_to_string(&path) else { return Ok(None) };
    let record: serde_json::Value = match serde_json::from_str(&record) {
        Ok(record) => record,
        Err(e) => return Err(Error::Format { path, reason: e.to_string() }),
    };
    if record["source"]["md5"] != all.source().md5.as_str() {
        return Ok(None);
    }
    Ok(Some(Subsets::read_csv(model.join("split.csv"), all)?.train))
}

/// The data's labels that the model tells apart.
fn labels_of(classifier: &Classifier, vocabulary: &Vocabulary, flags: &str) -> Result<Vec<u32>> {
    let code = |name: &String| {
        let reason = || format!("the model's label '{name}' is none of the data's; give {flags}");
        vocabulary.read(name).ok_or_else(|| Error::Settings(reason()))
    };
    classifier.labels().iter().map(code).collect()
}
