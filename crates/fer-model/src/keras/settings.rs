//! The settings of a layer of Keras.

use fer_nn::{Activation, Padding};
use serde_json::{Value, json};

use crate::limits::MAX_UNITS;
use crate::{Error, Result};

/// Layers that only training sees.
pub(super) const ONLY_IN_TRAINING: [&str; 14] = [
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomShear",
    "RandomContrast",
    "RandomBrightness",
    "RandomErasing",
    "Identity",
];

/// The activations that this crate has, as errors list them.
pub(super) const ACTIVATIONS: &str = "linear, relu, leaky_relu, elu, silu, sigmoid; softmax at the end";

/// The activation that Keras describes so, and whether it makes probabilities, which this crate's networks leave to the
/// end: it is linear then.
pub(super) fn activation(described: &Value) -> Option<(Activation, bool)> {
    let Some(name) = described.as_str() else {
        // An activation layer in place of a name.
        return match described.as_object() {
            None => described.is_null().then_some((Activation::Linear, false)),
            Some(object) => {
                let (class, config) = (object.get("class_name")?.as_str()?, object.get("config")?);
                if class == "function" { activation(config) } else { layer(class, config) }
            }
        };
    };
    Some(match name {
        "linear" => (Activation::Linear, false),
        "softmax" => (Activation::Linear, true),
        "relu" => (Activation::Relu, false),
        "elu" => (Activation::Elu, false),
        "silu" | "swish" => (Activation::Silu, false),
        "sigmoid" => (Activation::Sigmoid, false),
        // The slope of the function; layers say theirs.
        "leaky_relu" => (Activation::LeakyRelu(0.2), false),
        _ => return None,
    })
}

/// An activation layer, as [`activation`] gives it; none when its settings are not this crate's.
fn layer(class: &str, config: &Value) -> Option<(Activation, bool)> {
    let number = |key: &str, default: f64| match &config[key] {
        Value::Null => Some(default),
        value => value.as_f64(),
    };
    Some(match class {
        "ReLU" if config["max_value"].is_null() && number("threshold", 0.0)? == 0.0 => {
            match number("negative_slope", 0.0)? {
                0.0 => (Activation::Relu, false),
                slope => (Activation::LeakyRelu(slope as f32), false),
            }
        }
        "LeakyReLU" => {
            let slope = number("negative_slope", number("alpha", 0.3)?)?;
            (Activation::LeakyRelu(slope as f32), false)
        }
        "ELU" if number("alpha", 1.0)? == 1.0 => (Activation::Elu, false),
        "Softmax" if [json!(-1), json!(1), Value::Null].contains(&config["axis"]) => {
            (Activation::Linear, true)
        }
        _ => return None,
    })
}

/// A layer's settings, and what errors need.
pub(super) struct Settings<'a> {
    pub file: &'a str,
    pub name: &'a str,
    pub config: &'a Value,
}

impl Settings<'_> {
    pub fn wrong(&self, found: impl ToString, expected: impl ToString) -> Error {
        Error::keras_layer(self.file, self.name, found, expected)
    }

    fn unexpected(&self, key: &str, expected: impl ToString) -> Error {
        self.wrong(format!("{key} {}", self.config[key]), expected)
    }

    /// Checks that a setting, where it is given, is one of these, as text.
    pub fn check(&self, key: &str, allowed: &[&str]) -> Result<()> {
        let found = match &self.config[key] {
            Value::Null => return Ok(()),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if allowed.contains(&found.as_str()) {
            Ok(())
        } else {
            Err(self.unexpected(key, allowed.join(" or ")))
        }
    }

    pub fn number(&self, key: &str) -> Result<f64> {
        self.config[key].as_f64().ok_or_else(|| self.unexpected(key, "a number"))
    }

    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        if self.config[key].is_null() { Ok(default) } else { self.number(key) }
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        size(&self.config[key])
            .ok_or_else(|| self.unexpected(key, format!("a whole number, 1 to {MAX_UNITS}")))
    }

    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.config[key].is_null() { Ok(default) } else { self.size(key) }
    }

    pub fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        let sizes =
            self.config[key].as_array().map(|list| list.iter().map(whole).collect::<Option<Vec<_>>>());
        sizes.flatten().ok_or_else(|| self.unexpected(key, "whole numbers"))
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match &self.config[key] {
            Value::Null => Ok(default),
            value => value.as_bool().ok_or_else(|| self.unexpected(key, "true or false")),
        }
    }

    /// The side of a square, `[n, n]` or `n`.
    pub fn square(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let side = match &self.config[key] {
            Value::Null => default,
            Value::Array(sides) => match &sides[..] {
                [rows, columns] if rows == columns => size(rows),
                _ => None,
            },
            side => size(side),
        };
        side.ok_or_else(|| self.unexpected(key, "a square"))
    }

    /// The stride of a convolution that is not dilated.
    pub fn stride(&self) -> Result<usize> {
        if self.square("dilation_rate", Some(1))? != 1 {
            return Err(self.unexpected("dilation_rate", "1"));
        }
        self.square("strides", Some(1))
    }

    /// The padding of a convolution, with the zeros that were put around its input before.
    pub fn padding(&self, before: Option<Padding>) -> Result<Padding> {
        self.check("padding", &["same", "valid"])?;
        match (self.config["padding"] == "same", before) {
            (true, None) => Ok(Padding::Same),
            (false, before) => Ok(before.unwrap_or(Padding::Valid)),
            (true, Some(_)) => Err(self.unexpected("padding", "valid after ZeroPadding2D")),
        }
    }

    /// The zeros of a `ZeroPadding2D`: `[[top, bottom], [left, right]]`.
    pub fn zero_padding(&self) -> Result<Padding> {
        let count = |value: &Value| whole(value).filter(|count| *count <= MAX_UNITS);
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([before, after]) => Some((count(before)?, count(after)?)),
            Some(_) => None,
            None => Some((count(value)?, count(value)?)),
        };
        let both = match &self.config["padding"] {
            Value::Array(axes) => match &axes[..] {
                [rows, columns] => pair(rows).zip(pair(columns)),
                _ => None,
            },
            all => pair(all).map(|all| (all, all)),
        };
        let ((top, bottom), (left, right)) =
            both.ok_or_else(|| self.unexpected("padding", "[[top, bottom], [left, right]]"))?;
        Ok(Padding::Explicit { top, bottom, left, right })
    }

    /// A pooling's size, stride and padding.
    pub fn pool(&self) -> Result<(usize, usize, Padding)> {
        let size = self.square("pool_size", Some(2))?;
        Ok((size, self.square("strides", Some(size))?, self.padding(None)?))
    }

    /// The activation that is part of a layer; the second is whether it makes probabilities.
    pub fn own_activation(&self) -> Result<(Activation, bool)> {
        activation(&self.config["activation"]).ok_or_else(|| self.unexpected("activation", ACTIVATIONS))
    }

    /// The activation that a layer of its own is.
    pub fn activation_layer(&self, class: &str) -> Result<(Activation, bool)> {
        layer(class, self.config).ok_or_else(|| {
            let expected =
                "ReLU without max_value and threshold, ELU with alpha 1, Softmax over the last axis";
            self.wrong(format!("{class} {}", self.config), expected)
        })
    }

    /// Checks that a batch norm is over the channels.
    pub fn check_last_axis(&self, rank: usize) -> Result<()> {
        let last = rank as u64 - 1;
        let axis = &self.config["axis"];
        let allowed = [Value::Null, json!(-1), json!([-1]), json!(last), json!([last])];
        if allowed.contains(axis) { Ok(()) } else { Err(self.unexpected("axis", "-1")) }
    }
}

/// A number of filters, or a length in pixels: no more than a network has.
fn size(value: &Value) -> Option<usize> {
    whole(value).filter(|size| (1..=MAX_UNITS).contains(size))
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|v| usize::try_from(v).ok())
}
