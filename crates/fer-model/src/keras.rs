//! Keras `.h5` files, read and written without Keras or the HDF5 library.
//!
//! Read are whole models (`model.save("m.h5")`) and weights alone (`save_weights("w.h5")`,
//! `save_weights("w.weights.h5")`) of Keras 2 and Keras 3, as long as the network is the notebook's with any
//! number of blocks, widths, kernel sizes, classes and image size. Keras' order `(height, width, channels)`
//! becomes this crate's `(channels, height, width)`; the probabilities stay the same.
//!
//! ```
//! use candle_core::Device;
//! use candle_nn::VarMap;
//! use fer_model::{BlockConfig, DcnnConfig, ModelConfig, keras};
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
//! assert_eq!(imported.dcnn, narrow);
//!
//! let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
//! fer_model::save(&dir, &ModelConfig::dcnn(imported.dcnn, labels)?, &imported.tensors)?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), fer_model::Error>(())
//! ```

mod architecture;
mod export;
mod file;
mod order;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::Tensor;
use fer_nn::MovingVariance;

pub use self::export::export;
use self::file::StoredLayer;
use crate::layer_config::LayerKind;
use crate::saved::check_shape;
use crate::{BlockConfig, DcnnConfig, Error};

/// A network read from a Keras file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The architecture. A file of weights alone holds neither the dropout rates nor the image's size: the
    /// rates are then the notebook's and the image is taken for a square, the smallest that fits.
    pub dcnn: DcnnConfig,
    /// The tensors that [`DcnnConfig::tensors`] names, on the CPU.
    pub tensors: HashMap<String, Tensor>,
}

/// Reads a Keras `.h5` file: a whole model or weights alone.
///
/// Layers with the notebook's names are found by name; otherwise they are taken in the file's order, each
/// kind for itself. Optimizer state is not read. A file that Keras 3 wrote gives [`MovingVariance::Biased`],
/// which matters only when training goes on.
///
/// # Errors
/// When the file cannot be read, is no Keras file, is damaged, or holds another architecture; the error names
/// the layer or tensor, what was found and what was expected.
pub fn import(path: impl AsRef<Path>) -> Result<Imported, Error> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(Error::io(path))?;
    read(bytes, &path.display().to_string())
}

/// As [`import`], from the contents of a file; errors call it `model.h5`.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: Vec<u8>) -> Result<Imported, Error> {
    read(bytes, "model.h5")
}

fn read(bytes: Vec<u8>, name: &str) -> Result<Imported, Error> {
    let mut file = file::read(bytes, name)?;
    sort_by_name(&mut file.layers);
    let mut dcnn = match &file.model_config {
        Some(json) => architecture::from_model_config(json, name)?,
        None => architecture::from_weights(&file.layers, name)?,
    };
    if file.keras3 {
        dcnn.moving_variance = MovingVariance::Biased;
    }
    dcnn.validate().map_err(|e| Error::keras(name, e))?;

    let mut stored = file.layers;
    let mut tensors = HashMap::new();
    for layer in dcnn.layers()?.iter().filter(|layer| !layer.tensors.is_empty()) {
        let Some(next) = stored.iter().position(|s| s.class == layer.class) else {
            return Err(Error::MissingTensor { name: name.to_owned(), tensor: layer.name.clone() });
        };
        let found = stored.remove(next);
        for ((tensor, shape), weight) in layer.tensors.iter().zip(&found.weights) {
            let expected = order::keras_shape(shape);
            check_shape(name, &weight.path, &["F32"], &expected, &weight.dtype, &weight.shape)?;
            let value = order::from_keras(weight.read(name)?, &dcnn, &layer.name, shape)?;
            tensors.insert(format!("{}.{tensor}", layer.name), value);
        }
    }
    match stored.first() {
        Some(extra) => {
            Err(Error::keras_layer(name, &extra.name, format!("class {}", extra.class), "no more layers"))
        }
        None => Ok(Imported { dcnn, tensors }),
    }
}

/// Puts the layers into the network's order when their names are the notebook's, all of them.
fn sort_by_name(stored: &mut [StoredLayer]) {
    let convs = stored.iter().filter(|layer| layer.class == "Conv2D").count();
    let block = BlockConfig { filters: 1, kernel: 1, dropout: 0.0 };
    let names = DcnnConfig { blocks: vec![block; convs / 2], ..Default::default() }.layer_configs();
    let has_weights = |kind: &LayerKind| {
        matches!(kind, LayerKind::Conv2d { .. } | LayerKind::Dense { .. } | LayerKind::BatchNorm { .. })
    };
    let weighted = names.into_iter().filter(|layer| has_weights(&layer.is));
    let positions: HashMap<String, usize> = weighted.map(|layer| layer.name).zip(0..).collect();
    if stored.len() == positions.len() && stored.iter().all(|layer| positions.contains_key(&layer.name)) {
        stored.sort_by_key(|layer| positions[&layer.name]);
    }
}

#[cfg(test)]
mod tests {
    use hdf5_pure::{AttrValue, FileBuilder};

    use super::*;
    use crate::LayerInfo;

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

    fn error(layers: &[Layer]) -> String {
        import_bytes(weights_file(layers, false)).unwrap_err().to_string()
    }

    #[test]
    fn weights_alone_tell_the_architecture() {
        let mut expected = deep();
        expected.blocks[0].dropout = 0.4;
        expected.blocks[1].dropout = 0.4;
        let named = layers(&expected);
        assert_eq!(import_bytes(weights_file(&named, false)).unwrap().dcnn, expected);

        // With the notebook's names the order is free; with others it is the file's.
        let reversed: Vec<Layer> = named.iter().rev().cloned().collect();
        assert_eq!(import_bytes(weights_file(&reversed, false)).unwrap().dcnn, expected);
        let renamed = |(i, layer): (usize, &Layer)| (format!("layer {i}"), layer.1.clone());
        let renamed: Vec<Layer> = named.iter().enumerate().map(renamed).collect();
        assert_eq!(import_bytes(weights_file(&renamed, false)).unwrap().dcnn, expected);

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
        assert_eq!(import_bytes(weights_file(&numbered, true)).unwrap().dcnn, expected);
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
                "model.h5: tensor 'model_weights/dense_1/kernel:0' is F32 [18, 2], expected 6 rows a pixel of a \
                 square (the weights alone do not hold the image's size)",
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
        let message = import_bytes(empty).unwrap_err().to_string();
        assert_eq!(message, "model.h5: neither 'layer_names' nor 'layers': no weights of Keras");
        assert!(matches!(import_bytes(b"emotion,pixels,Usage".to_vec()), Err(Error::Hdf5 { .. })));
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
        let message = import_bytes(file.finish().unwrap()).unwrap_err().to_string();
        assert!(
            message.starts_with("model.h5: 4198400 bytes of weights cannot be in a file of "),
            "{message}"
        );
    }
}
