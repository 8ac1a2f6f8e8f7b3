//! How good a model is on data, or how good predictions in a file are.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fer::data::{Dataset, FerPlus, FerPlusTargets, Subsets, Usage, emotion_code};
use fer::metrics::ConfusionMatrix;
use fer::model::{Classifier, Views};
use fer::{Comparison, Evaluation, plot, write_file};

/// How good a model is on data, or how good predictions in a file are.
#[derive(Parser)]
struct Args {
    /// A folder with model.safetensors and model.toml.
    #[arg(long, requires = "data", required_unless_present = "predictions")]
    model: Option<PathBuf>,
    /// The faces: any file or folder that train_dcnn reads.
    #[arg(long, requires = "model")]
    data: Option<PathBuf>,
    /// The labels to evaluate [default: the model's].
    #[arg(long, value_delimiter = ',', requires = "data")]
    labels: Option<Vec<u8>>,
    /// Evaluate the validation rows (the test rows, where it has them) of this split file.
    #[arg(long, requires = "data", conflicts_with = "usage")]
    split: Option<PathBuf>,
    /// Evaluate the rows of this usage.
    #[arg(long, requires = "data", value_parser = ["PublicTest", "PrivateTest"])]
    usage: Option<String>,
    /// FER+ votes (fer2013new.csv): the labels are their majority in 7 classes, or as --ferplus-targets says.
    #[arg(long, requires = "data")]
    ferplus: Option<PathBuf>,
    /// Measure by FER+ in 8 classes, on the rows with a single winner, after votes of 1 are taken away.
    #[arg(long, requires = "ferplus", value_parser = ["votes", "majority"])]
    ferplus_targets: Option<String>,
    /// Look at each image several times: also mirrored, or also shifted by 3 pixels along the diagonals and mirrored.
    #[arg(long, requires = "model", value_parser = ["mirror", "ten"])]
    views: Option<String>,
    /// A CSV file with the columns label and predicted.
    #[arg(long, conflicts_with = "model")]
    predictions: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: auto].
    #[arg(long, requires = "model")]
    device: Option<String>,
    /// The folder for the report, the predictions and the figure.
    #[arg(long)]
    out: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    match (&args.predictions, &args.model, &args.data) {
        (Some(file), ..) => evaluate_file(file, args.out.as_deref()),
        (None, Some(model), Some(data)) => evaluate_model(model, data, args),
        _ => Err("give --model and --data, or --predictions".into()),
    }
}

fn evaluate_model(model: &Path, path: &Path, args: &Args) -> Result<(), Failure> {
    let device = fer::nn::device(args.device.as_deref().unwrap_or("auto"))?;
    let classifier = Classifier::open_on(model, &device)?;
    let views = match args.views.as_deref() {
        Some("mirror") => Views { mirror: true, shift: 0 },
        Some(_) => Views::TEN,
        None => Views::default(),
    };
    let classifier = classifier.views(views);
    let faces = Dataset::open(path)?;
    let source = faces.source();
    println!("{}, md5 {}", source.name.as_deref().unwrap_or(&source.path), source.md5);
    let recorded = trained_on(&faces, model)?;
    let all = with_ferplus(faces, args)?;
    let labels = match &args.labels {
        Some(labels) => labels.clone(),
        None => labels_of(&classifier)?,
    };
    let chosen = all.select(&labels)?;
    let (data, train) = rows_to_evaluate(&all, &chosen, recorded, args)?;
    // A tie has no right answer to be measured by.
    let (rows, data) = (data.len(), data.without_ties());
    match rows - data.len() {
        0 => {}
        ties => println!("{ties} ties left out"),
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
    text += &format!("\n{}\n{}\n", matrix.report(), table(&matrix, &evaluation.names));
    text += &match train {
        Some(train) => Comparison::new(evaluation.clone(), &data, &train).to_string(),
        None => format!(
            "{} rows\n{}no leak-free twin: give --split or --usage, which tell what was trained on\n",
            evaluation.rows.len(),
            evaluation.scores()?,
        ),
    };
    print!("{text}");
    if let Some(out) = &args.out {
        write_results(out, &text, &matrix, &evaluation.names)?;
        write_file(out.join("predictions.csv"), evaluation.predictions_csv())?;
    }
    Ok(())
}

/// The data as FER+ labels it.
fn with_ferplus(data: Dataset, args: &Args) -> Result<Dataset, Failure> {
    let Some(path) = &args.ferplus else { return Ok(data) };
    let votes = FerPlus::open(path)?;
    let targets = args.ferplus_targets.as_deref().map(str::parse::<FerPlusTargets>).transpose()?;
    let (data, counts) = match targets {
        None => {
            let kept = data.with_ferplus(&votes)?.0;
            println!("FER+: {} of {} rows left", kept.len(), data.len());
            return Ok(kept);
        }
        Some(FerPlusTargets::Votes) => data.with_ferplus_votes(&votes)?,
        Some(FerPlusTargets::Majority) => data.with_ferplus_majority(&votes)?,
    };
    println!("FER+: {counts}");
    Ok(data)
}

/// The rows to evaluate, and those that were trained on as far as that is known.
fn rows_to_evaluate(
    all: &Dataset,
    chosen: &Dataset,
    recorded: Option<Dataset>,
    args: &Args,
) -> Result<(Dataset, Option<Dataset>), Failure> {
    if let Some(file) = &args.split {
        let subsets = Subsets::read_csv(file, chosen)?;
        return Ok((subsets.test.unwrap_or(subsets.valid), Some(subsets.train)));
    }
    if let Some(usage) = &args.usage {
        let train = match recorded {
            Some(train) => Some(train),
            None => {
                println!(
                    "no run of this data beside the model: Training is taken for what it was trained on"
                );
                Some(all.select_usage(Usage::Training)?)
            }
        };
        return Ok((chosen.select_usage(usage.parse()?)?, train));
    }
    Ok((chosen.clone(), recorded))
}

/// The rows of this data, before any FER+, that a model of `train_dcnn` was trained on, when it was on this data: its run is
/// recorded beside it.
fn trained_on(all: &Dataset, model: &Path) -> Result<Option<Dataset>, Failure> {
    let path = model.join("run.json");
    let Ok(record) = std::fs::read_to_string(&path) else { return Ok(None) };
    let record: serde_json::Value =
        serde_json::from_str(&record).map_err(|e| format!("{}: {e}", path.display()))?;
    if record["source"]["md5"] != all.source().md5.as_str() {
        return Ok(None);
    }
    Ok(Some(Subsets::read_csv(model.join("split.csv"), all)?.train))
}

fn labels_of(classifier: &Classifier) -> Result<Vec<u8>, Failure> {
    let code = |name: &String| {
        emotion_code(name)
            .ok_or_else(|| format!("the model's label '{name}' is none of the data's; give --labels").into())
    };
    classifier.labels().iter().map(code).collect()
}

fn evaluate_file(path: &Path, out: Option<&Path>) -> Result<(), Failure> {
    let (truth, predicted) = read_predictions(path)?;
    let mut names: Vec<String> = truth.iter().chain(&predicted).cloned().collect();
    names.sort();
    names.dedup();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    let class = |name: &String| names.iter().position(|known| known == name).unwrap_or_default();
    let truth: Vec<usize> = truth.iter().map(class).collect();
    let predicted: Vec<usize> = predicted.iter().map(class).collect();
    let matrix = ConfusionMatrix::new(&truth, &predicted, names.len())?;
    let text = format!(
        "{}\n{}\naccuracy {:.4} ({} of {} wrong), majority-class baseline {:.4}\n",
        matrix.report().named(&present(&matrix, &names))?,
        table(&matrix, &names),
        matrix.accuracy(),
        matrix.wrong(),
        matrix.total(),
        matrix.majority_baseline(),
    );
    print!("{text}");
    match out {
        Some(out) => write_results(out, &text, &matrix, &names),
        None => Ok(()),
    }
}

/// The names of the classes that the report lists.
fn present(matrix: &ConfusionMatrix, names: &[String]) -> Vec<String> {
    matrix.report().classes.iter().map(|class| names[class.class].clone()).collect()
}

fn read_predictions(path: &Path) -> Result<(Vec<String>, Vec<String>), Failure> {
    let named = |e: csv::Error| format!("{}: {e}", path.display());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(named)?;
    let header = reader.headers().map_err(named)?.clone();
    let column = |name: &str| {
        let found: Vec<&str> = header.iter().collect();
        header.iter().position(|h| h == name).ok_or_else(|| {
            format!("{}: line 1: no column '{name}', found {}", path.display(), found.join(", "))
        })
    };
    let (label, predicted) = (column("label")?, column("predicted")?);
    let (mut truths, mut predictions) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(named)?;
        for (column, values) in [(label, &mut truths), (predicted, &mut predictions)] {
            match record.get(column).filter(|value| !value.is_empty()) {
                Some(value) => values.push(value.to_owned()),
                None => {
                    let line = record.position().map_or(0, |position| position.line());
                    return Err(format!(
                        "{}: line {line}: no value for '{}'",
                        path.display(),
                        &header[column]
                    )
                    .into());
                }
            }
        }
    }
    if truths.is_empty() {
        return Err(format!("{}: a header without rows", path.display()).into());
    }
    Ok((truths, predictions))
}

/// The confusion matrix as text: rows true, columns predicted.
fn table(matrix: &ConfusionMatrix, names: &[String]) -> String {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
    let mut text = format!("{:>width$}", "true");
    names.iter().for_each(|name| text += &format!(" {name:>width$}"));
    for (name, row) in names.iter().zip(matrix.counts().rows()) {
        text += &format!("\n{name:>width$}");
        row.iter().for_each(|count| text += &format!(" {count:>width$}"));
    }
    text + "\n"
}

fn write_results(out: &Path, text: &str, matrix: &ConfusionMatrix, names: &[String]) -> Result<(), Failure> {
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    write_file(out.join("classification_report.txt"), text)?;
    Ok(plot::confusion_matrix(matrix, names)?.save(out.join("confusion_matrix"))?)
}
