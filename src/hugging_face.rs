//! A model as Hugging Face keeps one.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;
use fer_model::ModelConfig;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Error, Result, write_file};

/// Writes `model.safetensors`, `config.json`, a `README.md` with front matter and the model card, and `model.toml`, by which
/// [`Classifier::open`](fer_model::Classifier::open) reads the folder. Without a card the README says what the model takes and
/// gives.
///
/// # Errors
/// When a tensor is missing or a file cannot be written.
pub fn save(
    folder: &Path,
    config: &ModelConfig,
    tensors: &HashMap<String, Tensor>,
    card: Option<&str>,
    license: Option<&str>,
) -> Result<()> {
    fer_model::save(folder, config, tensors)?;
    let path = folder.join("config.json");
    let settings = serde_json::to_string_pretty(&settings(config))
        .map_err(|e| Error::Format { path: path.clone(), reason: e.to_string() })?;
    write_file(path, settings + "\n")?;
    write_file(folder.join("README.md"), readme(config, card, license))
}

/// What Hugging Face's own models of images say of themselves, and all of ours under `fer`.
#[derive(Serialize)]
struct Settings<'a> {
    model_type: &'a str,
    architectures: [&'a str; 1],
    num_channels: usize,
    image_size: [usize; 2],
    id2label: Map<String, Value>,
    label2id: Map<String, Value>,
    fer: &'a ModelConfig,
}

fn settings(config: &ModelConfig) -> Settings<'_> {
    let labels = || config.labels.iter().enumerate();
    Settings {
        model_type: "fer",
        architectures: [config.architecture.name()],
        num_channels: config.input.channels,
        image_size: [config.input.height, config.input.width],
        id2label: labels().map(|(i, label)| (i.to_string(), json!(label))).collect(),
        label2id: labels().map(|(i, label)| (label.clone(), json!(i))).collect(),
        fer: config,
    }
}

fn readme(config: &ModelConfig, card: Option<&str>, license: Option<&str>) -> String {
    let license = license.map(|name| format!("license: {name}\n")).unwrap_or_default();
    let front = format!(
        "---\nlibrary_name: fer\n{license}pipeline_tag: image-classification\ntags:\n- facial-expression-recognition\n\
         - candle\n- safetensors\n---\n\n"
    );
    let input = config.input;
    let body = card.map_or_else(
        || {
            format!(
                "# {}\n\nFaces of {}×{} pixels in {} channels; probabilities of {}.\n",
                config.architecture.name(),
                input.height,
                input.width,
                input.channels,
                config.labels.join(", ")
            )
        },
        str::to_owned,
    );
    front + &body
}
