//! Files of weights alone, made here, and files of something else.

use std::collections::HashMap;

use hdf5_pure::{AttrValue, FileBuilder};

use super::*;
use crate::{Architecture, BlockConfig, DcnnConfig, LayerInfo, Result};

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

fn notebook(bytes: Vec<u8>) -> Result<DcnnConfig> {
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
        format!("model.h5: a TensorFlow Lite model, {expected}; import the Keras model that it was made of")
    );
    assert_eq!(
        said(b"version https://git-lfs.github.com/spec/v1"),
        format!(
            "model.h5: the pointer of a file that Git LFS has not fetched, {expected}; fetch it with `git lfs pull`"
        )
    );
    assert!(said(b"PK\x05\x06").starts_with("model.h5: a damaged zip archive: "), "{}", said(b"PK\x05\x06"));
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
    assert!(message.starts_with("model.h5: 4198400 bytes of weights cannot be in a file of "), "{message}");
}

#[test]
fn an_image_is_rescaled_for_all_layers_or_for_none() {
    let said = |second: &str| {
        let layer = |class: &str, name: &str, config: serde_json::Value, inputs: &[&str]| {
            let mut config = config;
            config["name"] = name.into();
            let inputs: Vec<Value> =
                inputs.iter().map(|input| serde_json::json!([input, 0, 0, {}])).collect();
            let calls = if inputs.is_empty() { serde_json::json!([]) } else { serde_json::json!([inputs]) };
            serde_json::json!({"class_name": class, "name": name, "config": config, "inbound_nodes": calls})
        };
        let none = || serde_json::json!({});
        let image = serde_json::json!({"batch_input_shape": [null, 2, 2, 1]});
        let model = serde_json::json!({"class_name": "Functional", "config": {"layers": [
            layer("InputLayer", "image", image, &[]),
            layer("Rescaling", "scaled", serde_json::json!({"scale": 0.5, "offset": 1.0}), &["image"]),
            layer("Flatten", "a", none(), &["scaled"]),
            layer("Flatten", "b", none(), &[second]),
            layer("Add", "sum", none(), &["a", "b"]),
            layer("Softmax", "softmax", none(), &["sum"]),
        ], "output_layers": [["softmax", 0, 0]]}});
        import_bytes(weights_file(&[], false), Some(&Structure::Json(model.to_string())))
    };
    assert_eq!(said("scaled").unwrap().preprocessing.unwrap().scale, 0.5);
    let message = said("image").unwrap_err().to_string();
    assert!(message.contains("some layers read the image, others what a Rescaling makes of it"), "{message}");
}
