//! A model's ONNX file in 8 bits, measured on data.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use fer_data::{Dataset, FerPlusTargets, ReadConfig, Shape, Usage};
use fer_model::onnx::{OnnxConfig, Quantized};
use fer_model::{Classifier, Input, ModelConfig};

use crate::run::{title, with_ferplus};
use crate::{Error, Evaluation, Result};

/// The most faces that ranges are measured on.
const MOST: usize = 512;

/// The network in 8 bits, its ranges measured on faces of `data`, and lines that say on what, and its accuracy on other faces
/// beside that of the network as it is. This is noted in the file's metadata too.
pub(super) fn quantize(
    data: &Path,
    mut read: ReadConfig,
    votes: Option<&Path>,
    config: &ModelConfig,
    tensors: &HashMap<String, Tensor>,
    settings: OnnxConfig,
) -> Result<(Quantized, String)> {
    let Input { channels, height, width } = config.input;
    // A model of colours is shown them.
    read.colour |= channels == 3;
    let faces = Dataset::open_with(data, &read)?;
    let mut text = format!("{}\n", title(faces.source()));
    let (found, expected) = (faces.shape(), Shape { channels, height, width });
    if (found.height, found.width) != (height, width) {
        return Err(Error::Shape { found, expected });
    }
    let faces = if channels == 1 { faces.in_grey() } else { faces };
    let whole = Classifier::new(config.clone(), tensors, &Device::Cpu)?;
    let faces = match votes {
        Some(votes) => {
            // Contempt is among the classes of the votes alone.
            let has_contempt = config.labels.iter().any(|label| label == "contempt");
            let (kept, _, words) =
                with_ferplus(&faces, votes, has_contempt.then_some(FerPlusTargets::Majority))?;
            text += &format!("FER+: {words}\n");
            kept
        }
        None => faces,
    };
    let all = faces.len();
    let faces = known(&faces, config)?;
    if faces.len() < all {
        let left_out = all - faces.len();
        text +=
            &format!("{left_out} faces left out: of classes that the model does not have, or with a tie\n");
    }
    let (measured, tests) = parts(&faces)?;
    let mut pixels = Vec::with_capacity(measured.len() * channels * height * width);
    (0..measured.len()).for_each(|i| pixels.extend(measured.image(i)));
    let mut quantized = Quantized::new(config, tensors, settings, &pixels)?;
    text += &format!("ranges of {} faces\n", measured.len());
    let coded = quantized.classifier()?;
    for (name, test) in tests {
        let [in_8, in_32] = [&coded, &whole].map(|classifier| accuracy(classifier, &test));
        let (in_8, in_32) = (in_8?, in_32?);
        let faces = test.len();
        text += &format!("accuracy on {faces} {name} faces: {in_8:.4} in 8 bits, {in_32:.4} in 32 bits\n");
        let note = serde_json::json!({ "faces": faces, "int8": in_8, "float32": in_32 });
        quantized.note(&format!("accuracy_{name}"), note.to_string());
    }
    Ok((quantized, text))
}

/// The faces of the classes that the model and the data both know, with one right answer each; all where there are no labels.
fn known(faces: &Dataset, config: &ModelConfig) -> Result<Dataset> {
    let Some(labels) = faces.labels() else { return Ok(faces.clone()) };
    let vocabulary = faces.encoder().vocabulary();
    let mut codes: Vec<u32> = config.labels.iter().filter_map(|name| vocabulary.read(name)).collect();
    codes.retain(|code| labels.contains(code));
    if codes.is_empty() {
        let known = config.labels.join(", ");
        let reason = format!(
            "--quantize: the data has no face of the model's classes, {known}; --classes says which it has"
        );
        return Err(Error::Settings(reason));
    }
    Ok(faces.select(&codes)?.without_ties())
}

fn accuracy(classifier: &Classifier, data: &Dataset) -> Result<f64> {
    Ok(Evaluation::new(classifier, data)?.matrix()?.accuracy())
}

/// Faces for the ranges, evenly chosen of those of usage Training or, where that is not said, of all, and at most half; and
/// those to measure accuracy on, by name: of each other usage, or the rest. None where there are no labels.
fn parts(faces: &Dataset) -> Result<(Dataset, Vec<(String, Dataset)>)> {
    let of = |usage: Usage| faces.select_usage(usage).ok();
    let tests = [Usage::PublicTest, Usage::PrivateTest]
        .into_iter()
        .filter_map(|usage| Some((usage.to_string(), of(usage)?)));
    let tests: Vec<_> = tests.collect();
    let (from, most) = match of(Usage::Training) {
        Some(training) if !tests.is_empty() => (training, MOST),
        _ => (faces.clone(), MOST.min(faces.len() / 2).max(1)),
    };
    let count = from.len().min(most);
    let chosen: Vec<usize> = (0..count).map(|i| i * from.len() / count).collect();
    let measured = from.subset(&chosen)?;
    if faces.labels().is_none() {
        return Ok((measured, Vec::new()));
    }
    if from.len() < faces.len() {
        return Ok((measured, tests));
    }
    let rest: Vec<usize> = (0..from.len()).filter(|i| chosen.binary_search(i).is_err()).collect();
    let rest = from.subset(&rest)?;
    Ok((measured, if rest.is_empty() { Vec::new() } else { vec![("other".to_owned(), rest)] }))
}
