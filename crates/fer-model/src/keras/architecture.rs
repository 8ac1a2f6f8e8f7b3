//! The architecture of a Keras file: from the `model_config` of a whole model, or from the weights' shapes.

use serde_json::{Value, json};

use super::file::StoredLayer;
use crate::{BlockConfig, DcnnConfig, Error};

/// The architecture that this `model_config` describes; `file` stands for the file in errors.
pub(super) fn from_model_config(json: &str, file: &str) -> Result<DcnnConfig, Error> {
    let model: Value =
        serde_json::from_str(json).map_err(|e| Error::keras(file, format!("model_config: {e}")))?;
    let config = &model["config"];
    let Some(layers) = config["layers"].as_array().or(config.as_array()) else {
        return Err(Error::keras(file, "model_config: no layers"));
    };
    let (height, width, channels) = layers
        .iter()
        .flat_map(|layer| ["batch_shape", "batch_input_shape"].map(|key| &layer["config"][key]))
        .chain([&config["build_input_shape"]])
        .find_map(image_shape)
        .ok_or_else(|| Error::keras(file, "model_config: no input shape (batch, height, width, channels)"))?;

    let mut layers = Walk { file, rest: layers };
    layers.take("InputLayer");
    let mut blocks = Vec::new();
    while let Some(first) = layers.take("Conv2D") {
        let (filters, kernel) = (first.size("filters")?, first.kernel()?);
        first.check_conv(filters, kernel)?;
        layers.require("BatchNormalization")?.check_norm()?;
        layers.require("Conv2D")?.check_conv(filters, kernel)?;
        layers.require("BatchNormalization")?.check_norm()?;
        layers.require("MaxPooling2D")?.check_pool()?;
        blocks.push(BlockConfig { filters, kernel, dropout: layers.dropout()? });
    }
    if blocks.is_empty() {
        return Err(layers.unexpected("Conv2D"));
    }
    layers.require("Flatten")?;
    let dense = layers.require("Dense")?;
    dense.check_dense("elu")?;
    layers.require("BatchNormalization")?.check_norm()?;
    let dense_dropout = layers.dropout()?;
    let out = layers.require("Dense")?;
    out.check_dense("softmax")?;
    layers.end()?;
    Ok(DcnnConfig {
        classes: out.size("units")?,
        channels,
        height,
        width,
        dense_units: dense.size("units")?,
        dense_dropout,
        blocks,
        ..Default::default()
    })
}

/// The architecture that has weights of these shapes. What the shapes do not say is the default; the image is
/// the smallest square that fits.
pub(super) fn from_weights(layers: &[StoredLayer], file: &str) -> Result<DcnnConfig, Error> {
    let kernels = |class| -> Vec<_> {
        layers.iter().filter(|l| l.class == class).filter_map(|l| l.weights.first()).collect()
    };
    let (convs, dense) = (kernels("Conv2D"), kernels("Dense"));
    let norms = kernels("BatchNormalization").len();
    let (&[hidden, out], true) =
        (&dense[..], convs.len() >= 2 && convs.len() % 2 == 0 && norms == convs.len() + 1)
    else {
        return Err(Error::keras(
            file,
            format!(
                "{} Conv2D, {norms} BatchNormalization and {} Dense layers, expected two Conv2D a block, one \
                 BatchNormalization more than these, and two Dense",
                convs.len(),
                dense.len()
            ),
        ));
    };
    let defaults = DcnnConfig::default();
    let blocks: Vec<BlockConfig> = (0..convs.len() / 2)
        .map(|i| BlockConfig {
            filters: convs[2 * i].shape[3],
            kernel: convs[2 * i].shape[0],
            dropout: defaults.blocks.get(i).or(defaults.blocks.last()).map_or(0.0, |block| block.dropout),
        })
        .collect();
    let filters = blocks.last().map_or(1, |block| block.filters);
    let side = hidden.shape[0].checked_div(filters).unwrap_or(0).isqrt();
    if side == 0 || side.saturating_mul(side).saturating_mul(filters) != hidden.shape[0] {
        return Err(Error::TensorShape {
            name: file.to_owned(),
            tensor: hidden.path.clone(),
            found: format!("{} {:?}", hidden.dtype, hidden.shape),
            expected: format!(
                "{filters} rows a pixel of a square (the weights alone do not hold the image's size)"
            ),
        });
    }
    let side = side.saturating_mul(1 << blocks.len().min(16));
    Ok(DcnnConfig {
        classes: out.shape[1],
        channels: convs[0].shape[2],
        height: side,
        width: side,
        dense_units: hidden.shape[1],
        blocks,
        ..defaults
    })
}

/// `(height, width, channels)` of a batch's shape.
fn image_shape(batch: &Value) -> Option<(usize, usize, usize)> {
    let size = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok());
    match &batch.as_array()?[..] {
        [_, height, width, channels] => Some((size(height)?, size(width)?, size(channels)?)),
        _ => None,
    }
}

/// The layers of a `model_config`, one after the other.
struct Walk<'a> {
    file: &'a str,
    rest: &'a [Value],
}

impl<'a> Walk<'a> {
    /// The next layer, if it is of this class.
    fn take(&mut self, class: &str) -> Option<Layer<'a>> {
        let (first, rest) = self.rest.split_first().filter(|(first, _)| first["class_name"] == class)?;
        self.rest = rest;
        Some(Layer { file: self.file, config: &first["config"] })
    }

    fn require(&mut self, class: &str) -> Result<Layer<'a>, Error> {
        self.take(class).ok_or_else(|| self.unexpected(class))
    }

    /// The rate of a dropout layer; 0 where there is none.
    fn dropout(&mut self) -> Result<f32, Error> {
        let Some(layer) = self.take("Dropout") else { return Ok(0.0) };
        match layer.config["rate"].as_f64() {
            Some(rate) => Ok(rate as f32),
            None => Err(layer.unexpected("rate", "a number")),
        }
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("no more layers")) }
    }

    fn unexpected(&self, expected: &str) -> Error {
        match self.rest.first() {
            Some(layer) => {
                let name = layer["config"]["name"].as_str().unwrap_or_default();
                let class = format!("class {}", layer["class_name"].as_str().unwrap_or("of no name"));
                Error::keras_layer(self.file, name, class, expected)
            }
            None => {
                Error::keras(self.file, format!("model_config: the layers end where {expected} is expected"))
            }
        }
    }
}

/// A layer of a `model_config`.
struct Layer<'a> {
    file: &'a str,
    config: &'a Value,
}

impl Layer<'_> {
    fn unexpected(&self, key: &str, expected: impl ToString) -> Error {
        let name = self.config["name"].as_str().unwrap_or_default();
        Error::keras_layer(self.file, name, format!("{key} {}", self.config[key]), expected)
    }

    fn size(&self, key: &str) -> Result<usize, Error> {
        let size = self.config[key].as_u64().and_then(|v| usize::try_from(v).ok());
        size.ok_or_else(|| self.unexpected(key, "a whole number"))
    }

    /// The side of the square kernel.
    fn kernel(&self) -> Result<usize, Error> {
        let sides = self.config["kernel_size"].as_array().map(Vec::as_slice);
        let side =
            sides.and_then(<[Value]>::first).and_then(Value::as_u64).and_then(|v| usize::try_from(v).ok());
        side.ok_or_else(|| self.unexpected("kernel_size", "[rows, columns]"))
    }

    /// Checks that `key` has one of the values; null also stands for a key that is not there.
    fn check(&self, key: &str, allowed: &[Value]) -> Result<(), Error> {
        match allowed {
            [expected, ..] if !allowed.contains(&self.config[key]) => Err(self.unexpected(key, expected)),
            _ => Ok(()),
        }
    }

    fn check_conv(&self, filters: usize, kernel: usize) -> Result<(), Error> {
        self.check("filters", &[json!(filters)])?;
        self.check("kernel_size", &[json!([kernel, kernel])])?;
        self.check("activation", &[json!("elu")])?;
        self.check("padding", &[json!("same")])?;
        self.check("strides", &[json!([1, 1]), Value::Null])?;
        self.check("dilation_rate", &[json!([1, 1]), Value::Null])?;
        self.check("groups", &[json!(1), Value::Null])?;
        self.check("use_bias", &[json!(true), Value::Null])?;
        self.check("data_format", &[json!("channels_last"), Value::Null])
    }

    fn check_norm(&self) -> Result<(), Error> {
        // The last axis, of images or of vectors; the shapes of the weights tell whether it is the right one.
        self.check(
            "axis",
            &[json!(-1), json!([-1]), json!(3), json!([3]), json!(1), json!([1]), Value::Null],
        )?;
        self.check("epsilon", &[json!(0.001), Value::Null])?;
        self.check("center", &[json!(true), Value::Null])?;
        self.check("scale", &[json!(true), Value::Null])
    }

    fn check_pool(&self) -> Result<(), Error> {
        self.check("pool_size", &[json!([2, 2]), Value::Null])?;
        self.check("strides", &[json!([2, 2]), Value::Null])?;
        self.check("padding", &[json!("valid"), Value::Null])?;
        self.check("data_format", &[json!("channels_last"), Value::Null])
    }

    fn check_dense(&self, activation: &str) -> Result<(), Error> {
        self.check("activation", &[json!(activation)])?;
        self.check("use_bias", &[json!(true), Value::Null])
    }
}

#[cfg(test)]
mod tests {
    use super::super::export::model_config;
    use super::*;

    fn read(model: &Value) -> Result<DcnnConfig, Error> {
        from_model_config(&model.to_string(), "m.h5")
    }

    /// The message when the notebook's architecture is changed so.
    fn error(change: impl Fn(&mut Vec<Value>)) -> String {
        let mut model = model_config(&DcnnConfig::default()).unwrap();
        change(model["config"]["layers"].as_array_mut().unwrap());
        read(&model).unwrap_err().to_string()
    }

    #[test]
    fn the_notebooks_architecture_is_read_back() {
        let default = DcnnConfig::default();
        assert_eq!(read(&model_config(&default).unwrap()).unwrap(), default);
    }

    #[test]
    fn the_input_shape_may_be_the_first_layers_or_the_models() {
        let default = DcnnConfig::default();
        let mut model = model_config(&default).unwrap();
        let batch = json!([null, 48, 48, 1]);
        let layers = model["config"]["layers"].as_array_mut().unwrap();
        layers.remove(0);
        layers[0]["config"]["batch_input_shape"] = batch.clone();
        assert_eq!(read(&model).unwrap(), default);
        // The oldest Sequential models are a list of layers alone.
        assert_eq!(read(&json!({"config": &model["config"]["layers"]})).unwrap(), default);

        let config = model["config"]["layers"][0]["config"].as_object_mut().unwrap();
        config.remove("batch_input_shape");
        assert!(read(&model).unwrap_err().to_string().starts_with("m.h5: model_config: no input shape"));
        model["config"]["build_input_shape"] = batch;
        assert_eq!(read(&model).unwrap(), default);
    }

    #[test]
    fn a_block_without_dropout_has_rate_0() {
        let mut model = model_config(&DcnnConfig::default()).unwrap();
        let layers = model["config"]["layers"].as_array_mut().unwrap();
        layers.retain(|layer| layer["config"]["name"] != "dropout_2");
        assert_eq!(read(&model).unwrap().blocks[1].dropout, 0.0);
    }

    #[test]
    fn another_architecture_is_an_error_that_names_the_layer() {
        for (found, expected) in [
            (
                error(|l| l[1]["config"]["activation"] = json!("relu")),
                "m.h5: layer 'conv2d_1' has activation \"relu\", expected \"elu\"",
            ),
            (
                error(|l| l[3]["config"]["filters"] = json!(32)),
                "m.h5: layer 'conv2d_2' has filters 32, expected 64",
            ),
            (
                error(|l| l[1]["config"]["kernel_size"] = json!([5, 3])),
                "m.h5: layer 'conv2d_1' has kernel_size [5,3], expected [5,5]",
            ),
            (
                error(|l| l[2]["config"]["epsilon"] = json!(0.01)),
                "m.h5: layer 'batchnorm_1' has epsilon 0.01, expected 0.001",
            ),
            (
                error(|l| l[2]["class_name"] = json!("LayerNormalization")),
                "m.h5: layer 'batchnorm_1' has class LayerNormalization, expected BatchNormalization",
            ),
            (
                error(|l| l[19]["class_name"] = json!("GlobalAveragePooling2D")),
                "m.h5: layer 'flatten' has class GlobalAveragePooling2D, expected Flatten",
            ),
            (
                error(|l| l.push(json!({"class_name": "Dense", "config": {"name": "extra"}}))),
                "m.h5: layer 'extra' has class Dense, expected no more layers",
            ),
            (error(|l| l.truncate(20)), "m.h5: model_config: the layers end where Dense is expected"),
        ] {
            assert_eq!(found, expected);
        }
        assert!(from_model_config("{", "m.h5").is_err());
        assert!(from_model_config("[]", "m.h5").is_err());
    }
}
