//! Keras models, read and written without Keras or the HDF5 library.
//!
//! Read are `.keras` files, whole models in `.h5` files, and weights alone in `.h5` and `.weights.h5` files with the
//! description of their network, of Keras 2 and Keras 3. The network is any of layers that this crate has: convolutions
//! (with groups, depthwise, separable), dense layers, batch norm, pooling, global mean, upsampling, sums, activations in
//! layers or as layers. What only training sees is left out. The notebook's network becomes
//! [`Architecture::Dcnn`], any other [`Architecture::Layers`]. Keras' order `(height, width, channels)` becomes this
//! crate's `(channels, height, width)`; the probabilities stay the same to 1e-5.
//!
//! ```
//! use candle_core::Device;
//! use candle_nn::VarMap;
//! use fer_model::{Architecture, BlockConfig, DcnnConfig, keras};
//!
//! let narrow = DcnnConfig {
//!     blocks: vec![BlockConfig { filters: 8, kernel: 3, dropout: 0.1 }; 2],
//!     ..Default::default()
//! };
//! let vars = VarMap::new();
//! narrow.network(fer_nn::var_builder(&vars, 42, &Device::Cpu))?;
//!
//! let dir = std::env::temp_dir().join("fer-model-keras");
//! # std::fs::create_dir_all(&dir).unwrap();
//! keras::export(dir.join("model.h5"), &narrow, &vars)?;
//! let imported = keras::import(dir.join("model.h5"))?;
//! assert_eq!(imported.architecture, Architecture::Dcnn(narrow));
//!
//! let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
//! fer_model::save(&dir, &imported.config(labels)?, &imported.tensors)?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), fer_model::Error>(())
//! ```

mod convert;
mod export;
mod file;
mod model_config;
mod notebook;
mod order;
mod package;
mod settings;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::Tensor;
use fer_files::Kind;
use serde_json::Value;

pub use self::export::export;
use crate::{Architecture, Error, Input, ModelConfig, Preprocessing};

/// A network read from a Keras file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the network is made of.
    pub architecture: Architecture,
    /// The images that it takes.
    pub input: Input,
    /// The classes that it tells apart.
    pub classes: usize,
    /// What is done to pixels first, where the model says it by a `Rescaling` layer.
    pub preprocessing: Option<Preprocessing>,
    /// The tensors of the architecture, on the CPU.
    pub tensors: HashMap<String, Tensor>,
    /// What was left out or assumed, a sentence each, for a person to read.
    pub notes: Vec<String>,
}

impl Imported {
    /// The configuration of the model, with the names of its classes. Where the model does not say what is done to pixels,
    /// it is the default: 0 to 255 become 0 to 1.
    ///
    /// # Errors
    /// When the names are not one a class, each another.
    pub fn config(&self, labels: Vec<String>) -> Result<ModelConfig, Error> {
        if labels.len() != self.classes {
            return Err(Error::Labels { labels: labels.len(), classes: self.classes });
        }
        let config = ModelConfig::new(self.architecture.clone(), self.input, labels)?;
        Ok(ModelConfig { preprocessing: self.preprocessing.unwrap_or_default(), ..config })
    }
}

/// What the network of a file of weights alone is: such a file has neither its activations nor the order of its layers nor
/// the size of its images.
#[derive(Clone, Debug)]
pub enum Structure {
    /// What Keras' `model.to_json()` gave.
    Json(String),
    /// The notebook's network (ELU, a batch norm after each convolution) with any blocks, kernels and classes, for
    /// square images of so many pixels a side.
    Notebook {
        /// The side in pixels.
        side: usize,
    },
}

/// Reads a Keras model: a `.keras` file, or an `.h5` file that holds a whole model.
///
/// Optimizer state is not read. A file that Keras 3 wrote gives [`MovingVariance::Biased`](fer_nn::MovingVariance::Biased),
/// which matters only when training goes on.
///
/// # Errors
/// When the file cannot be read, is no Keras file, is damaged, holds weights alone, or holds a layer that this crate does
/// not have; the error names the layer or tensor, what was found and what was expected.
pub fn import(path: impl AsRef<Path>) -> Result<Imported, Error> {
    let path = path.as_ref();
    read(contents(path)?, None, &path.display().to_string())
}

/// Reads the weights in an `.h5` file for a network that is known otherwise.
///
/// # Errors
/// As [`import`], and when the weights are not those of the network.
pub fn import_weights(path: impl AsRef<Path>, structure: &Structure) -> Result<Imported, Error> {
    let path = path.as_ref();
    read(contents(path)?, Some(structure), &path.display().to_string())
}

/// As [`import`], or with a structure as [`import_weights`], from the contents of a file; errors call it `model.h5`.
///
/// # Errors
/// As these.
pub fn import_bytes(bytes: Vec<u8>, structure: Option<&Structure>) -> Result<Imported, Error> {
    read(bytes, structure, "model.h5")
}

fn contents(path: &Path) -> Result<Vec<u8>, Error> {
    if path.is_dir() {
        let message = "a folder, as TensorFlow's SavedModel is; save the model as a .keras file";
        return Err(Error::keras(&path.display().to_string(), message));
    }
    fs::read(path).map_err(Error::io(path))
}

fn read(bytes: Vec<u8>, structure: Option<&Structure>, name: &str) -> Result<Imported, Error> {
    let (stored, inner) = match Kind::of(&bytes) {
        Some(Kind::Zip) => {
            let package = package::open(&bytes, name)?;
            let mut stored = file::read(package.weights, name)?;
            (stored.keras3, stored.model_config) = (package.keras3, Some(package.config));
            (stored, true)
        }
        Some(kind) if kind != Kind::Hdf5 => {
            let advice = match kind {
                Kind::GitLfs => "; fetch it with `git lfs pull`",
                Kind::Html => ": it was saved in place of the file",
                Kind::TfLite | Kind::Onnx => "; import the Keras model that it was made of",
                _ => "",
            };
            return Err(Error::keras(
                name,
                format!("{kind}, where a Keras .h5 or .keras file was expected{advice}"),
            ));
        }
        _ => (file::read(bytes, name)?, false),
    };
    let mut stored = stored;
    let json = |text: &str| {
        serde_json::from_str(text).map_err(|e| Error::keras(name, format!("the model's description: {e}")))
    };
    let description: Value = match (stored.model_config.take(), structure) {
        (Some(own), None) => json(&own)?,
        (Some(_), Some(_)) if inner => {
            return Err(Error::keras(name, "a whole model, which describes its network itself"));
        }
        (_, Some(Structure::Json(text))) => json(text)?,
        (_, Some(Structure::Notebook { side })) => notebook::describe(&mut stored, *side, name)?,
        (None, None) => return Err(Error::KerasWeightsAlone { name: name.to_owned() }),
    };
    convert::convert(model_config::parse(&description, name)?, stored, name)
}

#[cfg(test)]
mod tests {
    use hdf5_pure::{AttrValue, FileBuilder};

    use super::*;
    use crate::{BlockConfig, DcnnConfig, LayerInfo};

    /// A layer's name and the names and shapes of its weights.
    type Layer = (String, Vec<(&'static str, Vec<u64>)>);

    /// Six blocks, each wider than the one before: more layers of a kind than one digit counts.
    fn deep() -> DcnnConfig {
        let block = |i: usize| BlockConfig { filters: i + 1, kernel: 3, dropout: 0.5 };
        let blocks = (0..6).map(block).collect();
        DcnnConfig { height: 64, width: 64, dense_units: 2, blocks, ..Default::default() }
    }

    fn layers(dcnn: &DcnnConfig) -> Vec<Layer> {
        let weights = |layer: &LayerInfo| {
            let names = match layer.tensors.len() {
                2 => &["kernel:0", "bias:0"][..],
                _ => &["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"][..],
            };
            let shapes = layer.tensors.iter().map(|(_, shape)| order::keras_shape(shape));
            let shapes = shapes.map(|shape| shape.into_iter().map(|d| d as u64).collect());
            names.iter().copied().zip(shapes).collect()
        };
        let layers = dcnn.layers().unwrap().into_iter().filter(|layer| !layer.tensors.is_empty());
        layers.map(|layer| (layer.name.clone(), weights(&layer))).collect()
    }

    /// A file of weights alone, all zero: as `w.h5`, or as `w.weights.h5` when `numbered`.
    fn weights_file(layers: &[Layer], numbered: bool) -> Vec<u8> {
        let mut file = FileBuilder::new();
        let mut base = file.create_group(if numbered { "layers" } else { "model_weights" });
        let names = layers.iter().map(|(name, _)| name.clone()).collect();
        base.set_attr("layer_names", AttrValue::AsciiStringArray(names));
        for (layer, weights) in layers {
            let mut group = base.create_group(layer);
            let names = weights.iter().map(|(name, _)| name.to_string()).collect();
            group.set_attr("weight_names", AttrValue::AsciiStringArray(names));
            let mut vars = group.create_group("vars");
            for (i, (weight, shape)) in weights.iter().enumerate() {
                let zeros = vec![0f32; shape.iter().product::<u64>() as usize];
                let (number, into) = (i.to_string(), if numbered { &mut vars } else { &mut group });
                let data = into.create_dataset(if numbered { &number } else { weight });
                data.with_f32_data(&zeros).with_shape(shape);
            }
            if numbered {
                group.add_group(vars.finish());
            }
            base.add_group(group.finish());
        }
        file.add_group(base.finish());
        file.finish().unwrap()
    }

    fn notebook(bytes: Vec<u8>) -> Result<DcnnConfig, Error> {
        let imported = import_bytes(bytes, Some(&Structure::Notebook { side: 64 }))?;
        match imported.architecture {
            Architecture::Dcnn(dcnn) => Ok(dcnn),
            other => panic!("{other:?}"),
        }
    }

    fn error(layers: &[Layer]) -> String {
        notebook(weights_file(layers, false)).unwrap_err().to_string()
    }

    #[test]
    fn weights_alone_tell_the_architecture() {
        let mut expected = deep();
        expected.blocks[0].dropout = 0.4;
        expected.blocks[1].dropout = 0.4;
        let named = layers(&expected);
        assert_eq!(notebook(weights_file(&named, false)).unwrap(), expected);

        // With the notebook's names the order is free; with others it is the file's.
        let reversed: Vec<Layer> = named.iter().rev().cloned().collect();
        assert_eq!(notebook(weights_file(&reversed, false)).unwrap(), expected);
        let renamed = |(i, layer): (usize, &Layer)| (format!("layer {i}"), layer.1.clone());
        let renamed: Vec<Layer> = named.iter().enumerate().map(renamed).collect();
        assert_eq!(notebook(weights_file(&renamed, false)).unwrap(), expected);

        // `conv2d`, `conv2d_1`, …, `conv2d_11`, which HDF5 lists by the letters of their names.
        let mut counts = HashMap::new();
        let class = |layer: &Layer| {
            let class = match layer.1.len() {
                4 => "batch_normalization",
                _ if layer.1[0].1.len() == 4 => "conv2d",
                _ => "dense",
            };
            let count = counts.entry(class).or_insert(0);
            let name = if *count == 0 { class.to_owned() } else { format!("{class}_{count}") };
            *count += 1;
            (name, layer.1.clone())
        };
        let numbered: Vec<Layer> = named.iter().map(class).collect();
        assert_eq!(notebook(weights_file(&numbered, true)).unwrap(), expected);
    }

    #[test]
    fn another_network_is_an_error_that_says_where_and_what() {
        let change = |change: fn(&mut Vec<Layer>)| {
            let mut layers = layers(&deep());
            change(&mut layers);
            error(&layers)
        };
        for (found, expected) in [
            (
                change(|l| l[2].1[0].1[3] = 7),
                "model.h5: tensor 'model_weights/conv2d_2/kernel:0' is F32 [3, 3, 1, 7], expected F32 [3, 3, 1, 1]",
            ),
            (
                change(|l| drop(l[0].1.pop())),
                "model.h5: layer 'conv2d_1' has weights kernel [3, 3, 1, 1], expected those of a Conv2D, \
                 BatchNormalization or Dense layer",
            ),
            (
                change(|l| l[1].1.swap(0, 1)),
                "model.h5: layer 'batchnorm_1' has weights beta [1], gamma [1], moving_mean [1], \
                 moving_variance [1], expected those of a Conv2D, BatchNormalization or Dense layer",
            ),
            (
                change(|l| drop(l.remove(0))),
                "model.h5: 11 Conv2D, 13 BatchNormalization and 2 Dense layers, expected two Conv2D a block, one \
                 BatchNormalization more than these, and two Dense",
            ),
            (
                change(|l| l[24].1[0].1[0] = 18),
                "model.h5: tensor 'model_weights/dense_1/kernel:0' is F32 [18, 2], expected F32 [6, 2]",
            ),
            (
                change(|l| {
                    for layer in &mut l[..2] {
                        layer.1.iter_mut().for_each(|w| w.1[0] = 4)
                    }
                }),
                "model.h5: blocks[0].kernel is 4, allowed: odd, 1 to 31",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_file_of_something_else_is_an_error() {
        let empty = FileBuilder::new().finish().unwrap();
        let said = |bytes: &[u8]| import_bytes(bytes.to_vec(), None).unwrap_err().to_string();
        assert_eq!(said(&empty), "model.h5: neither 'layer_names' nor 'layers': no weights of Keras");
        assert!(matches!(import_bytes(b"emotion,pixels,Usage".to_vec(), None), Err(Error::Hdf5 { .. })));
        let expected = "where a Keras .h5 or .keras file was expected";
        assert_eq!(said(b""), format!("model.h5: an empty file, {expected}"));
        assert_eq!(
            said(b"\x1c\0\0\0TFL3"),
            format!(
                "model.h5: a TensorFlow Lite model, {expected}; import the Keras model that it was made of"
            )
        );
        assert_eq!(
            said(b"version https://git-lfs.github.com/spec/v1"),
            format!(
                "model.h5: the pointer of a file that Git LFS has not fetched, {expected}; fetch it with `git lfs pull`"
            )
        );
        assert!(
            said(b"PK\x05\x06").starts_with("model.h5: a damaged zip archive: "),
            "{}",
            said(b"PK\x05\x06")
        );
    }

    #[test]
    fn weights_alone_are_asked_for_their_network() {
        let bytes = weights_file(&layers(&deep()), false);
        let said = import_bytes(bytes, None).unwrap_err().to_string();
        assert!(said.starts_with("model.h5: weights alone: neither the activations nor the size"), "{said}");
    }

    #[test]
    fn weights_that_expand_beyond_reason_are_not_read() {
        let mut file = FileBuilder::new();
        file.set_attr("layer_names", AttrValue::AsciiStringArray(vec!["dense_1".into()]));
        let mut group = file.create_group("dense_1");
        group.set_attr("weight_names", AttrValue::AsciiStringArray(vec!["kernel".into(), "bias".into()]));
        let zeros = vec![0f32; 1 << 20];
        group.create_dataset("kernel").with_f32_data(&zeros).with_shape(&[1024, 1024]).with_deflate(9);
        group.create_dataset("bias").with_f32_data(&zeros[..1024]).with_shape(&[1024]);
        file.add_group(group.finish());
        let message = import_bytes(file.finish().unwrap(), None).unwrap_err().to_string();
        assert!(
            message.starts_with("model.h5: 4198400 bytes of weights cannot be in a file of "),
            "{message}"
        );
    }
}
