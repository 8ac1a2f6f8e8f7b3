//! Writing a network as a Keras model.

use std::path::Path;

use candle_core::DType;
use fer_files::printable;
use hdf5_pure::{AttrValue, FileBuilder};
use serde_json::{Value, json};

use super::order;
use crate::saved::{NamedTensors, checked};
use crate::{DcnnConfig, Error, LayerInfo, Result};

/// Writes the network as Keras 2's `model.save("model.h5")` does, with the architecture and without an
/// optimizer. `load_model` and `load_weights` of Keras 2 and Keras 3 read it.
///
/// The tensors that `dcnn` names are taken from `tensors`. Keras has no place for labels, nor for
/// [`Preprocessing`](crate::Preprocessing): who gives images to it must standardise them first.
///
/// # Errors
/// When the architecture is invalid, a tensor is missing or has another shape, or the file cannot be written.
pub fn export(path: impl AsRef<Path>, dcnn: &DcnnConfig, tensors: &impl NamedTensors) -> Result<()> {
    dcnn.validate()?;
    let path = path.as_ref();
    let name = printable(path.display());
    let tensors = checked(tensors, dcnn.tensors()?, &name)?;
    let text = |text: &str| AttrValue::VarLenAsciiString(text.to_owned());
    let version = [("backend", text("tensorflow")), ("keras_version", text("2.3.0-tf"))];

    let mut file = FileBuilder::new();
    let mut model = file.create_group("model_weights");
    for (key, value) in version {
        file.set_attr(key, value.clone());
        model.set_attr(key, value);
    }
    file.set_attr("model_config", text(&model_config(dcnn)?.to_string()));
    let layers = dcnn.layers()?;
    // Keras skips the layers without weights when it reads, so they need not be listed.
    let layers = || layers.iter().filter(|layer| !layer.tensors.is_empty());
    let names = layers().map(|layer| layer.name.clone()).collect();
    model.set_attr("layer_names", AttrValue::VarLenAsciiStringArray(names));
    for LayerInfo { name: layer, class, tensors: list, .. } in layers() {
        let weights = match *class {
            "BatchNormalization" => &["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"][..],
            _ => &["kernel:0", "bias:0"][..],
        };
        let mut group = model.create_group(layer);
        let names = weights.iter().map(|weight| format!("{layer}/{weight}")).collect();
        group.set_attr("weight_names", AttrValue::VarLenAsciiStringArray(names));
        let mut inner = group.create_group(layer);
        for (weight, (tensor, shape)) in weights.iter().zip(list) {
            let values =
                order::to_keras(&tensors[&format!("{layer}.{tensor}")].to_dtype(DType::F32)?, dcnn, layer)?;
            let shape: Vec<u64> = order::keras_shape(shape).into_iter().map(|d| d as u64).collect();
            inner.create_dataset(weight).with_f32_data(&values).with_shape(&shape);
        }
        group.add_group(inner.finish());
        model.add_group(group.finish());
    }
    file.add_group(model.finish());
    fer_files::write(path, file.finish().map_err(Error::hdf5(&name))?).map_err(Error::io(path))
}

/// The architecture as Keras 2 describes it; what is not said has Keras' default, in Keras 3 too.
pub(super) fn model_config(dcnn: &DcnnConfig) -> Result<Value> {
    let mut rates = dcnn.blocks.iter().map(|block| block.dropout).chain([dcnn.dense_dropout]);
    let batch = json!([null, dcnn.height, dcnn.width, dcnn.channels]);
    let input = json!({"name": "conv2d_1_input", "batch_input_shape": batch, "dtype": "float32"});
    let mut layers = vec![json!({"class_name": "InputLayer", "config": input})];
    for LayerInfo { name, class, output, tensors } in dcnn.layers()? {
        let channels = output.last();
        let mut config = match class {
            "Conv2D" => json!({
                "filters": channels,
                "kernel_size": &tensors[0].1[2..],
                "padding": "same",
                "activation": "elu",
                "kernel_initializer": "he_normal",
            }),
            "BatchNormalization" => {
                json!({"axis": [output.len()], "momentum": 0.99, "epsilon": 0.001})
            }
            "MaxPooling2D" => json!({"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}),
            // As the decimal that was written, not as the f32 nearest to it.
            "Dropout" => {
                json!({"rate": rates.next().map(|rate| rate.to_string().parse::<f64>().ok())})
            }
            "Flatten" => json!({}),
            "Dense" if name == "out_layer" => json!({"units": channels, "activation": "softmax"}),
            "Dense" => json!({
                "units": channels,
                "activation": "elu",
                "kernel_initializer": "he_normal",
            }),
            _ => json!({}),
        };
        config["name"] = name.into();
        layers.push(json!({"class_name": class, "config": config}));
    }
    Ok(json!({"class_name": "Sequential", "config": {"name": "DCNN", "layers": layers}}))
}
