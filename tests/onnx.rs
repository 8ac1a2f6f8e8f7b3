//! ONNX files of every architecture. That ONNX Runtime agrees is checked by `scripts/check_onnx.sh`, which keeps the md5 of each
//! file in tests/golden/onnx.json; here the files must still be those.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use candle_core::{Device, Tensor};
use fer::model::onnx::{self, OnnxConfig, Quantized};
use fer::model::{Architecture, Classifier, DcnnConfig, Head, Input, ModelConfig, ResnetConfig, VggConfig};
use fer::nn::Activation;
use md5::{Digest, Md5};

/// A file, and what answers as it should.
struct File {
    config: ModelConfig,
    settings: OnnxConfig,
    bytes: Vec<u8>,
    classifier: Classifier,
    in_8_bits: bool,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Every kind of layer that `layers` can have; two are called as values of ours would be.
const LAYERS: &str = r#"
architecture = "layers"
layers = [
    { name = "stem", is = { conv2d = { filters = 8, kernel = 3, stride = 2, activation = { leaky_relu = 0.1 } } } },
    { name = "depthwise", is = { conv2d = { filters = 8, kernel = 5, groups = 8, bias = false } } },
    { name = "norm", is = { batch_norm = { momentum = 0.9, epsilon = 0.001, moving_variance = "unbiased" } } },
    { name = "slopes", is = "p_relu" },
    { name = "half", is = { max_pool2d = { size = 3, stride = 2, padding = "same" } } },
    { name = "mean", is = { mean_pool2d = { size = 3, stride = 2, padding = "same" } } },
    { name = "wide", is = { upsample = { factor = 2 } } },
    { name = "sum", inputs = ["half", "wide"], is = "sum" },
    { name = "up", is = { conv_transpose2d = { filters = 6, kernel = 3, stride = 2 } } },
    { name = "up.activation", is = { conv2d = { filters = 6, kernel = 3, padding = { explicit = { top = 1, bottom = 0, left = 2, right = 0 } }, activation = "silu" } } },
    { name = "again", is = { batch_norm = { momentum = 0.9, epsilon = 0.001, moving_variance = "unbiased" } } },
    { name = "gate", is = { activation = "relu" } },
    { name = "drop", is = { dropout = { rate = 0.5 } } },
    { name = "flat", is = "flatten" },
    { name = "hidden", is = { dense = { units = 5, bias = false, activation = "elu" } } },
    { name = "squash", is = { activation = "sigmoid" } },
    { name = "probabilities", is = { dense = { units = 3 } } },
]
"#;

fn networks() -> Result<Vec<(&'static str, ModelConfig)>> {
    let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
    let vgg = VggConfig { widths: vec![6, 8], dropout: vec![0.1; 2], head_units: 7, ..Default::default() };
    let first =
        VggConfig { norm_first: true, head: Head::Flatten, activation: Activation::Relu, ..vgg.clone() };
    let resnet = ResnetConfig { widths: vec![6, 8], blocks: vec![1, 2], ..Default::default() };
    let mut dcnn = DcnnConfig { dense_units: 9, ..Default::default() };
    dcnn.blocks.iter_mut().for_each(|block| block.filters = 6);
    let colour = Input { channels: 3, height: 24, width: 20 };
    let config = |architecture: Architecture, input| ModelConfig::new(architecture, input, labels.clone());
    Ok(vec![
        ("dcnn", ModelConfig::dcnn(dcnn, labels.clone())?),
        ("vgg", config(vgg.clone().into(), Input::grey(48))?),
        ("vgg_colour", config(vgg.into(), colour)?),
        ("vgg_norm_first", config(first.into(), Input::grey(48))?),
        ("resnet", config(resnet.into(), Input::grey(48))?),
        ("layers", config(toml::from_str(LAYERS)?, Input { channels: 1, height: 21, width: 24 })?),
    ])
}

/// Numbers that are the same to the bit everywhere: variances above 0, all others of both signs, as large as keeps what layers
/// give as large.
fn weights(config: &ModelConfig) -> Result<HashMap<String, Tensor>> {
    let mut state = 7_u32;
    let mut draw = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65_536.0
    };
    let tensors = config.tensors()?.into_iter().map(|(name, shape)| {
        let count = shape.iter().product::<usize>();
        let mut numbers = |scale: f32, shift: f32| -> Vec<f32> {
            (0..count).map(|_| (draw() - 0.5) * scale + shift).collect()
        };
        let values = match shape[..] {
            // A norm's, or slopes.
            [_] if name.ends_with(".weight") || name.ends_with("running_var") => numbers(1.0, 1.0),
            [_] => numbers(0.2, 0.0),
            _ => numbers(6.0 / ((count / shape[0]) as f32).sqrt(), 0.0),
        };
        Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
    });
    tensors.collect()
}

/// Images, each lighter than the one before it, and coarser.
fn pixels(input: Input) -> Vec<u8> {
    let size = input.channels * input.height * input.width;
    let pixel =
        |image: usize, i: usize| image * 50 + (i / (image + 1) * 37 + i * i % 251) % (56 - image * 10);
    (0..5).flat_map(|image| (0..size).map(move |i| pixel(image, i) as u8)).collect()
}

/// The files of every network, by name: as they are, with norms folded, with preprocessing inside, and that in 8 bits.
fn files() -> Result<BTreeMap<String, File>> {
    let mut all = BTreeMap::new();
    for (name, config) in networks()? {
        let tensors = weights(&config)?;
        let classifier = Classifier::new(config.clone(), &tensors, &Device::Cpu)?;
        for (suffix, preprocessing, fold_norms) in
            [("", false, false), (".folded", false, true), (".bytes", true, true)]
        {
            let settings = OnnxConfig { preprocessing, fold_norms };
            let bytes = onnx::to_bytes(&config, &tensors, settings)?;
            let (config, classifier) = (config.clone(), classifier.clone());
            let file = File { config, settings, bytes, classifier, in_8_bits: false };
            all.insert(format!("{name}{suffix}"), file);
        }
        let settings = OnnxConfig { preprocessing: true, fold_norms: true };
        let quantized = Quantized::new(&config, &tensors, settings, &pixels(config.input))?;
        let (bytes, classifier) = (quantized.to_bytes(), quantized.classifier()?);
        let file = File { config, settings, bytes, classifier, in_8_bits: true };
        all.insert(format!("{name}.int8"), file);
    }
    Ok(all)
}

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden() -> String {
    format!("{}/tests/golden/onnx.json", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn files_are_those_that_onnx_runtime_has_read() -> Result<()> {
    let known: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(golden())?)?;
    let found: BTreeMap<String, String> =
        files()?.into_iter().map(|(name, file)| (name, md5(&file.bytes))).collect();
    assert_eq!(found, known, "run scripts/check_onnx.sh, which asks ONNX Runtime");
    Ok(())
}

#[test]
fn norms_are_folded_where_nothing_stands_between() -> Result<()> {
    let norms = |file: &[u8]| file.windows(18).filter(|bytes| *bytes == b"BatchNormalization").count();
    let files = files()?;
    let count = |name: &str| norms(&files[name].bytes);
    assert_eq!((count("vgg_norm_first"), count("vgg_norm_first.folded")), (5, 1), "the head's stays");
    assert_eq!(count("vgg.folded"), 4, "an activation stands before them");
    assert_eq!((count("layers"), count("layers.folded")), (2, 1));
    Ok(())
}

#[test]
fn eight_bits_answer_nearly_as_32() -> Result<()> {
    let files = files()?;
    for (name, file) in files.iter().filter(|(_, file)| file.in_8_bits) {
        let whole = &files[name.trim_end_matches(".int8")];
        let pixels = pixels(file.config.input);
        let [coded, whole] = [file, whole].map(|file| file.classifier.predict_pixels(&pixels));
        let (coded, whole) = (coded?.concat(), whole?.concat());
        let largest = coded.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest > 1e-6 && largest < 0.05, "{name}: {largest}");
    }
    Ok(())
}

/// Images, what the classifier says of them and the file itself, for tests/onnx_runtime.py to compare.
#[test]
#[ignore = "needs Python with onnx and onnxruntime: scripts/check_onnx.sh"]
fn onnx_runtime_agrees() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sums = BTreeMap::new();
    for (name, File { config, settings, bytes, classifier, in_8_bits }) in files()? {
        let Input { channels, height, width } = config.input;
        let pixels = pixels(config.input);
        let expected = classifier.predict_pixels(&pixels)?;
        let case = serde_json::json!({
            "preprocessing": settings.preprocessing,
            "in_8_bits": in_8_bits,
            "input": [channels, height, width],
            "scale": config.preprocessing.scale,
            "labels": config.labels,
            "pixels": pixels,
            "probabilities": expected,
        });
        fs::write(folder.path().join(format!("{name}.onnx")), &bytes)?;
        fs::write(folder.path().join(format!("{name}.json")), case.to_string())?;
        sums.insert(name, md5(&bytes));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_runtime.py");
    let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    assert!(Command::new(python).arg(script).arg(folder.path()).status()?.success());
    fs::write(golden(), serde_json::to_string_pretty(&sums)? + "\n")?;
    Ok(())
}
