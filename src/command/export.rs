//! Writes a model for other programs.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Tensor;
use clap::Parser;
use fer_model::onnx::{self, OnnxConfig};
use fer_model::{Architecture, ModelConfig};

use crate::command::ReadArgs;
use crate::command::quantize::quantize;
use crate::{Error, Result, hugging_face};

/// Writes a model as other programs read it: ONNX, Keras, or a folder as on Hugging Face.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder with model.safetensors and model.toml, as a training writes it [default: the model in the program].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Write an ONNX file: any number of images at once, output `probabilities`.
    #[arg(long, value_name = "FILE")]
    pub onnx: Option<PathBuf>,
    /// With --onnx: take uint8 images (N, height, width), of three colours (N, height, width, 3), and standardise them inside.
    #[arg(long, requires = "onnx")]
    pub preprocessing: bool,
    /// With --onnx: multiply batch norms into the convolutions before them, where nothing stands in between.
    #[arg(long, requires = "onnx")]
    pub fold_norms: bool,
    /// With --onnx: in 8 bits, by the ranges that values take for faces of this data, any file or folder that train_dcnn reads.
    /// Norms are folded. Accuracy in 8 bits and in 32 is measured on its other faces.
    #[arg(id = "data", long = "quantize", value_name = "DATA", requires = "onnx")]
    pub quantize: Option<PathBuf>,
    /// How that data is read.
    #[command(flatten)]
    pub read: ReadArgs,
    /// With --quantize: FER+ votes (fer2013new.csv), whose majority are the labels to measure accuracy by.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub ferplus: Option<PathBuf>,
    /// Write a Keras model, .h5; of the notebook's network alone.
    #[arg(long, value_name = "FILE")]
    pub keras: Option<PathBuf>,
    /// Write a folder as on Hugging Face: model.safetensors, config.json, README.md, and model.toml for this program.
    #[arg(long, value_name = "DIR")]
    pub hugging_face: Option<PathBuf>,
    /// With --hugging-face: the text of the model card [default: CARD.md beside the model].
    #[arg(long, value_name = "FILE", requires = "hugging_face")]
    pub card: Option<PathBuf>,
    /// With --hugging-face: the licence, by its name there, such as mit or apache-2.0.
    #[arg(long, value_name = "NAME", requires = "hugging_face")]
    pub license: Option<String>,
    /// Replace what is there.
    #[arg(long)]
    pub overwrite: bool,
}

/// Writes what was asked for, and says what it takes and gives.
///
/// # Errors
/// When nothing was asked for, the model cannot be read or has no such form, or a file is there or cannot be written; what
/// `out` says.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let targets = [&args.onnx, &args.keras, &args.hugging_face];
    if targets.iter().all(|target| target.is_none()) {
        return Err(Error::Settings("give --onnx, --keras or --hugging-face".into()));
    }
    let (config, tensors) = model(args)?;
    for target in targets.into_iter().flatten() {
        free(target, args.overwrite)?;
    }
    let card = card(args)?;
    if let Some(path) = &args.onnx {
        let settings = OnnxConfig { preprocessing: args.preprocessing, fold_norms: args.fold_norms };
        match &args.quantize {
            Some(data) => {
                let (quantized, said) =
                    quantize(data, args.read.config(), args.ferplus.as_deref(), &config, &tensors, settings)?;
                let whole = onnx::to_bytes(&config, &tensors, settings)?.len();
                quantized.export(path)?;
                let [in_8, in_32] = [quantized.to_bytes().len(), whole].map(|bytes| bytes as f64 / 1e6);
                write!(out, "{said}")?;
                writeln!(out, "{in_8:.1} MB in 8 bits, {in_32:.1} MB in 32")?;
            }
            None => onnx::export(path, &config, &tensors, settings)?,
        }
        let input = config.input;
        let (channels, height, width) = (input.channels, input.height, input.width);
        let takes = match (settings.preprocessing, channels) {
            (false, _) => format!("float32 (N, {channels}, {height}, {width}), standardised"),
            (true, 1) => format!("uint8 (N, {height}, {width}), grey"),
            (true, _) => format!("uint8 (N, {height}, {width}, 3), red, green and blue"),
        };
        let labels = config.labels.join(", ");
        writeln!(out, "{}: images {takes}; probabilities of {labels}", path.display())?;
    }
    if let Some(path) = &args.keras {
        keras(path, &config, &tensors)?;
        writeln!(out, "{}: Keras gives probabilities of {}", path.display(), config.labels.join(", "))?;
    }
    if let Some(folder) = &args.hugging_face {
        let license = args.license.as_deref();
        hugging_face::save(folder, &config, &tensors, card.as_deref(), license)?;
        writeln!(out, "{}: a model as on Hugging Face", folder.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn model(args: &Args) -> Result<(ModelConfig, HashMap<String, Tensor>)> {
    match &args.model {
        Some(folder) => Ok(fer_model::load(folder)?),
        #[cfg(feature = "pretrained")]
        None => Ok(fer_model::load_pretrained()?),
        #[cfg(not(feature = "pretrained"))]
        None => Err(Error::Settings("give --model: this program has no model in it".into())),
    }
}

/// Refuses a file that is there, and a folder with something in it.
fn free(target: &Path, overwrite: bool) -> Result<()> {
    let is_held = match target.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => target.exists(),
    };
    match is_held && !overwrite {
        true => {
            Err(Error::Settings(format!("{} is there already; --overwrite replaces it", target.display())))
        }
        false => Ok(()),
    }
}

#[cfg(feature = "keras")]
fn keras(path: &Path, config: &ModelConfig, tensors: &HashMap<String, Tensor>) -> Result<()> {
    match &config.architecture {
        Architecture::Dcnn(dcnn) => Ok(fer_model::keras::export(path, dcnn, tensors)?),
        other => Err(Error::Settings(format!(
            "--keras: the network is `{}`; only the notebook's, `dcnn`, is written for Keras",
            other.name()
        ))),
    }
}

#[cfg(not(feature = "keras"))]
fn keras(_: &Path, _: &ModelConfig, _: &HashMap<String, Tensor>) -> Result<()> {
    Err(Error::Settings("--keras: this program was built without Keras models".into()))
}

/// The model card's text; none where none was named and none lies beside the model.
fn card(args: &Args) -> Result<Option<String>> {
    let beside = args.model.as_ref().map(|folder| folder.join("CARD.md")).filter(|path| path.exists());
    let Some(path) = args.card.clone().or(beside) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(source) => Err(Error::Io { path, source }),
    }
}
