//! Models of other layers than the notebook's, as Keras saves them.
//!
//! The golden files are made by `tests/golden/keras_models.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use fer_model::keras::{self, Imported, Structure};
use fer_model::{Architecture, Classifier};
use serde::Deserialize;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

#[derive(Deserialize)]
struct Golden {
    height: usize,
    width: usize,
    channels: usize,
    probabilities: Vec<Vec<f32>>,
}

impl Golden {
    /// The images of the script, channel by channel.
    fn pixels(&self) -> Vec<u8> {
        let mut pixels = Vec::new();
        for n in 0..10 {
            for k in 0..self.channels {
                for r in 0..self.height {
                    pixels
                        .extend((0..self.width).map(|c| {
                            ((37 * r + 11 * c * c + r * c * (n + 1) + 53 * n + 91 * k) % 256) as u8
                        }));
                }
            }
        }
        pixels
    }
}

fn golden() -> BTreeMap<String, Golden> {
    let text = std::fs::read_to_string(format!("{GOLDEN}/keras_models.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(GOLDEN).join("keras_models").join(name)
}

/// The largest difference between a model's probabilities and Keras'.
fn difference(imported: &Imported, golden: &Golden) -> f32 {
    let labels = (0..imported.classes).map(|class| format!("class_{class}")).collect();
    let config = imported.config(labels).unwrap();
    let classifier = Classifier::new(config, &imported.tensors, &Device::Cpu).unwrap();
    let found = classifier.predict_pixels(&golden.pixels()).unwrap();
    assert_eq!(found.len(), golden.probabilities.len());
    let pairs = found.iter().flatten().zip(golden.probabilities.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn whole_models_give_keras_probabilities() {
    let golden = golden();
    for (name, golden) in golden.iter().filter(|(name, _)| !name.contains(".weights.")) {
        let imported = keras::import(file(name)).unwrap_or_else(|e| panic!("{e}"));
        assert!(matches!(imported.architecture, Architecture::Layers(_)), "{name}");
        let difference = difference(&imported, golden);
        assert!(difference < 1e-5, "{name}: {difference}");
        // A model folder of it says the same.
        let folder = tempfile::tempdir().unwrap();
        let labels = (0..imported.classes).map(|class| format!("class_{class}")).collect();
        fer_model::save(folder.path(), &imported.config(labels).unwrap(), &imported.tensors).unwrap();
        Classifier::open(folder.path()).unwrap();
    }
}

#[test]
fn weights_alone_are_read_with_their_description() {
    for of in ["keras2", "keras3"] {
        let name = format!("{of}_xception.weights.h5");
        let refused = keras::import(file(&name)).unwrap_err();
        assert!(matches!(refused, fer_model::Error::KerasWeightsAlone { .. }), "{refused}");
        let json = std::fs::read_to_string(file(&format!("{of}_xception.json"))).unwrap();
        let imported = keras::import_weights(file(&name), &Structure::Json(json)).unwrap();
        let difference = difference(&imported, &golden()[&name]);
        assert!(difference < 1e-5, "{name}: {difference}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let imported = keras::import(file("keras3_plain.keras")).unwrap();
    let classes = ["RandomFlip", "SpatialDropout2D", "GaussianNoise"];
    assert_eq!(imported.notes.len(), classes.len());
    for (note, class) in imported.notes.iter().zip(classes) {
        assert!(note.contains(&format!("({class}) is left out")), "{note}");
    }
    let colour = keras::import(file("keras3_colour.keras")).unwrap();
    let preprocessing = colour.preprocessing.unwrap();
    assert_eq!((preprocessing.scale, preprocessing.mean, colour.input.channels), (1.0 / 127.5, 1.0, 3));
}

/// What is said of a model of these weights whose description was changed so.
fn said_of(change: impl Fn(&mut Vec<serde_json::Value>)) -> String {
    let json = std::fs::read_to_string(file("keras3_xception.json")).unwrap();
    let mut model: serde_json::Value = serde_json::from_str(&json).unwrap();
    change(model["config"]["layers"].as_array_mut().unwrap());
    let structure = Structure::Json(model.to_string());
    let weights = std::fs::read(file("keras3_xception.weights.h5")).unwrap();
    keras::import_bytes(weights, Some(&structure)).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_imported_is_named_by_its_layer() {
    let first = |class: &str, layers: &mut Vec<serde_json::Value>| {
        layers.iter().position(|layer| layer["class_name"] == class).unwrap()
    };
    let set = |class: &'static str, key: &'static str, value: serde_json::Value| {
        said_of(move |layers| {
            let at = first(class, layers);
            layers[at]["config"][key] = value.clone();
        })
    };
    for (found, expected) in [
        (
            said_of(|layers| {
                let at = first("BatchNormalization", layers);
                layers[at]["class_name"] = "LayerNormalization".into();
            }),
            "layer 'batch_normalization' has class LayerNormalization, which cannot be imported, expected convolutions",
        ),
        (set("Conv2D", "dilation_rate", [2, 2].into()), "layer 'conv2d' has dilation_rate [2,2], expected 1"),
        (
            set("Conv2D", "kernel_size", [3, 1].into()),
            "layer 'conv2d' has kernel_size [3,1], expected a square",
        ),
        (
            set("Conv2D", "activation", "gelu".into()),
            "layer 'conv2d' has activation \"gelu\", expected linear, relu",
        ),
        (
            set("Conv2D", "use_bias", true.into()),
            "layer 'conv2d' has 1 weights, expected 2, as its description says",
        ),
        (set("Conv2D", "filters", 5.into()), "is F32 [3, 3, 1, 4], expected F32 [3, 3, 1, 5]"),
        (
            set("Conv2D", "data_format", "channels_first".into()),
            "data_format \"channels_first\", expected channels_last",
        ),
        (set("BatchNormalization", "axis", 1.into()), "layer 'batch_normalization' has axis 1, expected -1"),
        (
            set("Activation", "activation", "softmax".into()),
            "has a softmax before it, expected a softmax at the end alone",
        ),
        (set("SeparableConv2D", "strides", [2, 2].into()), "inputs of one shape"),
    ] {
        assert!(found.starts_with("model.h5: ") && found.contains(expected), "{found}");
    }
    // Sizes beyond reason.
    let huge = 1_u64 << 62;
    for (class, key) in [
        ("Conv2D", "filters"),
        ("Conv2D", "strides"),
        ("Conv2D", "groups"),
        ("Conv2D", "kernel_size"),
        ("SeparableConv2D", "depth_multiplier"),
        ("SeparableConv2D", "filters"),
        ("MaxPooling2D", "pool_size"),
        ("MaxPooling2D", "strides"),
    ] {
        set(class, key, huge.into());
    }
    let becomes = |class: &'static str, config: serde_json::Value| {
        said_of(move |layers| {
            let at = first("Activation", layers);
            layers[at]["class_name"] = class.into();
            layers[at]["config"] = config.clone();
            layers[at]["config"]["name"] = "activation".into();
        })
    };
    becomes("UpSampling2D", serde_json::json!({"size": huge}));
    becomes("ZeroPadding2D", serde_json::json!({"padding": huge}));
    becomes("Reshape", serde_json::json!({"target_shape": [huge, huge]}));
    said_of(|layers| layers[0]["config"]["batch_shape"] = serde_json::json!([null, huge, huge, 1]));
    let sigmoid = said_of(|layers| layers.last_mut().unwrap()["config"]["activation"] = "sigmoid".into());
    assert_eq!(
        sigmoid,
        "model.h5: the network ends in a sigmoid; allowed: a softmax, whose probabilities sum to 1"
    );
}

#[test]
fn what_a_layer_does_otherwise_than_it_would_here_is_refused() {
    let at = |name: &'static str, change: fn(&mut serde_json::Value)| {
        said_of(move |layers| {
            change(layers.iter_mut().find(|layer| layer["config"]["name"] == name).unwrap())
        })
    };
    for (found, expected) in [
        (
            at("batch_normalization", |layer| layer["inbound_nodes"][0]["kwargs"]["training"] = true.into()),
            "layer 'batch_normalization' has been called with training=True, expected a layer that does what it does after \
             training",
        ),
        (
            at("add", |layer| {
                let args = &mut layer["inbound_nodes"][0]["args"];
                *args = serde_json::json!([args[0][0], 1.0]);
            }),
            "layer 'add' has one layer as its input, expected two or more; a constant is not added",
        ),
        (
            at("conv2d", |layer| layer["module"] = "my_layers".into()),
            "layer 'conv2d' has class Conv2D of my_layers, expected a layer of Keras",
        ),
        (
            at("conv2d", |layer| layer["registered_name"] = "Custom>Conv2D".into()),
            "layer 'conv2d' has class Conv2D of keras.layers, expected a layer of Keras",
        ),
        (
            at("conv2d", |layer| layer["config"]["name"] = "\u{1b}[31m".into()),
            "the model's description: a layer '\\u{1b}[31m' of class Conv2D; allowed: names without control characters",
        ),
    ] {
        assert_eq!(found, format!("model.h5: {expected}"));
    }
}

#[test]
fn a_whole_model_takes_no_other_description() {
    let json = std::fs::read_to_string(file("keras3_xception.json")).unwrap();
    for name in ["keras2_xception.h5", "keras3_xception.keras"] {
        for structure in [Structure::Json(json.clone()), Structure::Notebook { side: 48 }] {
            let said = keras::import_weights(file(name), &structure).unwrap_err().to_string();
            assert!(said.contains("a whole model, which describes its network itself"), "{said}");
        }
    }
}

#[test]
fn a_changed_byte_in_a_package_is_an_error() {
    let whole = std::fs::read(file("keras3_plain.keras")).unwrap();
    // Past the two descriptions, within the weights, which are stored as they are.
    for at in (whole.len() / 2..whole.len() * 9 / 10).step_by(997) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let said = keras::import_bytes(damaged, None).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("model.weights.h5: "), "{said}");
    }
}

#[test]
fn a_damaged_package_is_an_error() {
    let whole = std::fs::read(file("keras3_plain.keras")).unwrap();
    for length in (0..whole.len()).step_by(499) {
        assert!(keras::import_bytes(whole[..length].to_vec(), None).is_err(), "{length} bytes");
    }
}

#[test]
fn damage_is_an_error_or_another_model_but_no_panic() {
    // Steps of a linear congruential generator.
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for name in ["keras2_plain.h5", "keras3_plain.keras", "keras2_colour.keras", "keras3_xception.weights.h5"]
    {
        let whole = std::fs::read(file(name)).unwrap();
        let json = std::fs::read_to_string(file("keras3_xception.json")).unwrap();
        let structure = name.contains(".weights.").then_some(Structure::Json(json));
        for _ in 0..300 {
            let mut damaged = whole.clone();
            for _ in 0..=draw(8) {
                let within = if draw(2) == 0 { 4096 } else { damaged.len() };
                damaged[draw(within)] = draw(256) as u8;
            }
            if let Err(error) = keras::import_bytes(damaged, structure.as_ref()) {
                assert!(!error.to_string().contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
            }
        }
    }
}

#[test]
fn bytes_of_a_damaged_file_do_not_steer_a_terminal() {
    let file = format!("{}/tests/golden/keras_h5/keras2_weights.h5", env!("CARGO_MANIFEST_DIR"));
    let mut damaged = std::fs::read(file).unwrap();
    let name = b"moving_mean:0";
    let places: Vec<usize> =
        (0..damaged.len() - name.len()).filter(|&i| damaged[i..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for place in places {
        damaged[place + 1..place + 6].copy_from_slice(b"\x1b[31m");
    }
    let notebook = Structure::Notebook { side: 48 };
    let error = keras::import_bytes(damaged, Some(&notebook)).unwrap_err().to_string();
    assert!(error.contains("m\\u{1b}[31m"), "{error}");
}
