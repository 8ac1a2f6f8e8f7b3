//! Makes the weights that the project ships of a run on the official split: calibrated, in 16 bits, with their card.
#![allow(clippy::print_stderr, reason = "an example talks to a person")]

mod card;

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use fer::data::{Dataset, FerPlus, ReadConfig, Usage};
use fer::metrics::temperature;
use fer::model::{self, Classifier, ModelConfig};
use fer::{Comparison, Evaluation, Output, write_file};
use serde_json::Value;

use card::{Card, Subset};

/// Makes the weights that the project ships of a run on the official split: calibrated, in 16 bits, with their card.
#[derive(Parser)]
struct Args {
    /// The folder of a run of `train_dcnn` with `--split usage`, or a recipe that has it. Its data is read where the run
    /// read it.
    #[arg(long)]
    model: PathBuf,
    /// The commit that the run was made at, for the card.
    #[arg(long)]
    commit: String,
    /// The recipe that the run was made by, for the card.
    #[arg(long, default_value = "recipes/ferplus.toml")]
    recipe: String,
    /// The folder for model.safetensors, model.toml and CARD.md.
    #[arg(long, default_value = "crates/fer-weights/weights")]
    out: PathBuf,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Tensors = HashMap<String, Tensor>;

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
    let record = read_record(&args.model)?;
    let settings = &record["settings"];
    if settings["split"]["method"] != "usage" {
        return Err(
            "run.json: not a run on the official split (--split usage), whose test rows chose nothing".into(),
        );
    }
    let path = settings["data"].as_str().ok_or("run.json: a run on drawn faces")?;
    // Runs before there were such settings have none.
    let read = match &settings["read"] {
        Value::Null => ReadConfig::default(),
        read => serde_json::from_value(read.clone())?,
    };
    let all = Dataset::open_with(path, &read)?;
    if record["source"]["md5"] != all.source().md5.as_str() {
        return Err(format!("{}: not the data of the run: its md5 is another", all.source().path).into());
    }
    let labelled = match settings["ferplus"].as_str() {
        Some(votes) => all.with_ferplus_votes(&FerPlus::open(votes)?)?.0,
        None => all.clone(),
    };
    let labels: Vec<u32> = serde_json::from_value(settings["labels"].clone())?;
    let chosen = if labels.is_empty() { labelled } else { labelled.select(&labels)? };
    let of = |usage| chosen.select_usage(usage).map(|rows| rows.without_ties());
    let (public, private) = (of(Usage::PublicTest)?, of(Usage::PrivateTest)?);
    let trained = chosen.select_usage(Usage::Training)?;

    let (config, tensors) = model::load(&args.model)?;
    let raw = classifier(&config, &tensors)?;
    let public_raw = Evaluation::new(&raw, &public)?;
    let degree = temperature(&public_raw.truth, public_raw.probabilities.view())?;
    let calibrated = cooled(&tensors, degree)?;
    let halves = stored(&calibrated, DType::F16)?;

    model::save(&args.out, &config, &halves)?;
    let shipped = Classifier::open(&args.out)?;
    let measured = |name, data: &Dataset| -> Result<Subset, Failure> {
        Ok(Subset {
            name,
            before: Evaluation::new(&raw, data)?,
            full: Evaluation::new(&classifier(&config, &calibrated)?, data)?,
            shipped: Comparison::new(Evaluation::new(&shipped, data)?, data, &trained),
        })
    };
    let card = Card {
        record: &record,
        commit: &args.commit,
        recipe: &args.recipe,
        classes: config.labels.len(),
        temperature: degree,
        bytes: std::fs::metadata(args.out.join("model.safetensors"))?.len(),
        subsets: [measured("PublicTest", &public)?, measured("PrivateTest", &private)?],
    };
    let text = card.text()?;
    write_file(args.out.join("CARD.md"), &text)?;
    let mut stdout = stdout();
    let mut out = Output::new(&mut stdout);
    write!(out, "{text}")?;
    Ok(out.finish()?)
}

fn read_record(model: &Path) -> Result<Value, Failure> {
    let path = model.join("run.json");
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|e| named(&e))?;
    Ok(serde_json::from_str(&text).map_err(|e| named(&e))?)
}

fn classifier(config: &ModelConfig, tensors: &Tensors) -> Result<Classifier, Failure> {
    Ok(Classifier::new(config.clone(), tensors, &Device::Cpu)?)
}

/// The same network with its logits divided by `temperature`: the output layer is.
fn cooled(tensors: &Tensors, temperature: f64) -> Result<Tensors, Failure> {
    let mut cooled = tensors.clone();
    for name in ["out_layer.weight", "out_layer.bias"] {
        let tensor = tensors.get(name).ok_or_else(|| format!("the model has no tensor {name}"))?;
        cooled.insert(name.to_owned(), (tensor / temperature)?);
    }
    Ok(cooled)
}

fn stored(tensors: &Tensors, dtype: DType) -> Result<Tensors, Failure> {
    tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(dtype)?))).collect()
}
