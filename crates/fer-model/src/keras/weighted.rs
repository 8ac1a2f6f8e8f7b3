//! The layers of Keras that have weights.

use candle_core::{Device, Tensor};
use fer_nn::{Activation, Padding};

use super::convert::{Output, Work};
use super::settings::Settings;
use crate::Result;
use crate::layer_config::{Initializer, LayerKind};

impl Work<'_> {
    pub(super) fn convolution(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let groups = settings.size_or("groups", 1)?;
        let (filters, kernel) = (settings.size("filters")?, settings.square("kernel_size", None)?);
        let padding = settings.padding(input.padding)?;
        let (stride, bias) = (settings.stride()?, settings.flag("use_bias", true)?);
        let inputs = input.dims.get(1).copied().unwrap_or(0);
        let mut weights = self.stored.take(settings.name, 1 + usize::from(bias), self.file)?;
        let weight = weights.next(&[kernel, kernel, inputs / groups.max(1), filters])?;
        let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
        self.store(settings.name, "weight", weight);
        if bias {
            let bias = weights.next(&[filters])?;
            self.store(settings.name, "bias", bias);
        }
        let (inner, outer) = settings.own_activation()?;
        let is = LayerKind::Conv2d { filters, kernel, stride, padding, groups, bias, activation: inner };
        let output = self.push(settings.name, is, input)?;
        Ok(Output { is_probability: outer, ..output })
    }

    /// A convolution of each channel, under this name.
    fn channelwise(
        &mut self,
        name: &str,
        settings: &Settings,
        input: Output,
        weight: Tensor,
        bias: Option<Tensor>,
        activation: Activation,
    ) -> Result<Output> {
        // (rows, columns, channels, multiplier), where ours is (channels·multiplier, 1, rows, columns).
        let (rows, _, channels, multiplier) = weight.dims4()?;
        let filters = channels * multiplier;
        let weight = weight.permute((2, 3, 0, 1))?.contiguous()?.reshape((filters, 1, rows, rows))?;
        self.store(name, "weight", weight);
        let is = LayerKind::Conv2d {
            filters,
            kernel: rows,
            stride: settings.stride()?,
            padding: settings.padding(input.padding)?,
            groups: channels,
            bias: bias.is_some(),
            activation,
        };
        if let Some(bias) = bias {
            self.store(name, "bias", bias);
        }
        self.push(name, is, input)
    }

    pub(super) fn depthwise(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let (kernel, multiplier) =
            (settings.square("kernel_size", None)?, settings.size_or("depth_multiplier", 1)?);
        let (channels, has_bias) =
            (input.dims.get(1).copied().unwrap_or(0), settings.flag("use_bias", true)?);
        let mut weights = self.stored.take(settings.name, 1 + usize::from(has_bias), self.file)?;
        let weight = weights.next(&[kernel, kernel, channels, multiplier])?;
        let bias = has_bias.then(|| weights.next(&[channels.saturating_mul(multiplier)])).transpose()?;
        let (inner, outer) = settings.own_activation()?;
        let output = self.channelwise(settings.name, settings, input, weight, bias, inner)?;
        Ok(Output { is_probability: outer, ..output })
    }

    pub(super) fn separable(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let (kernel, multiplier) =
            (settings.square("kernel_size", None)?, settings.size_or("depth_multiplier", 1)?);
        let (filters, bias) = (settings.size("filters")?, settings.flag("use_bias", true)?);
        let channels = input.dims.get(1).copied().unwrap_or(0);
        let mut weights = self.stored.take(settings.name, 2 + usize::from(bias), self.file)?;
        let depthwise = weights.next(&[kernel, kernel, channels, multiplier])?;
        let pointwise = weights.next(&[1, 1, channels.saturating_mul(multiplier), filters])?;
        let bias_values = bias.then(|| weights.next(&[filters])).transpose()?;
        let depth = self.free_name(&format!("{}_depthwise", settings.name));
        let between = self.channelwise(&depth, settings, input, depthwise, None, Activation::Linear)?;
        self.store(settings.name, "weight", pointwise.permute((3, 2, 0, 1))?.contiguous()?);
        if let Some(bias) = bias_values {
            self.store(settings.name, "bias", bias);
        }
        let (activation, outer) = settings.own_activation()?;
        let is = LayerKind::Conv2d {
            filters,
            kernel: 1,
            stride: 1,
            padding: Padding::Valid,
            groups: 1,
            bias,
            activation,
        };
        let output = self.push(settings.name, is, between)?;
        Ok(Output { is_probability: outer, ..output })
    }

    pub(super) fn dense(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let [_, inputs] = input.dims[..] else {
            return Err(settings.wrong("an image before it", "Flatten or a global mean before it"));
        };
        let (units, bias) = (settings.size("units")?, settings.flag("use_bias", true)?);
        let mut weights = self.stored.take(settings.name, 1 + usize::from(bias), self.file)?;
        let weight = weights.next(&[inputs, units])?;
        let weight = match input.flattened {
            // Keras flattens (height, width, channels), this crate (channels, height, width).
            Some([channels, height, width]) => weight
                .reshape((height, width, channels, units))?
                .permute((3, 2, 0, 1))?
                .contiguous()?
                .reshape((units, inputs))?,
            None => weight.t()?.contiguous()?,
        };
        self.store(settings.name, "weight", weight);
        if bias {
            let bias = weights.next(&[units])?;
            self.store(settings.name, "bias", bias);
        }
        let (activation, outer) = settings.own_activation()?;
        let initializer = match settings.config["kernel_initializer"]["class_name"]
            .as_str()
            .or(settings.config["kernel_initializer"].as_str())
        {
            Some("HeNormal" | "he_normal") => Initializer::HeNormal,
            _ => Initializer::GlorotUniform,
        };
        let output =
            self.push(settings.name, LayerKind::Dense { units, bias, activation, initializer }, input)?;
        Ok(Output { is_probability: outer, ..output })
    }

    pub(super) fn batch_norm(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        settings.check_last_axis(input.dims.len())?;
        let n = input.dims.get(1).copied().unwrap_or(0);
        let (scale, center) = (settings.flag("scale", true)?, settings.flag("center", true)?);
        let count = 2 + usize::from(scale) + usize::from(center);
        let mut weights = self.stored.take(settings.name, count, self.file)?;
        let constant = |value: f32| Tensor::full(value, n, &Device::Cpu);
        for (tensor, default) in [
            ("weight", (!scale).then_some(1.0)),
            ("bias", (!center).then_some(0.0)),
            ("running_mean", None),
            ("running_var", None),
        ] {
            let values = match default {
                Some(value) => constant(value)?,
                None => weights.next(&[n])?,
            };
            self.store(settings.name, tensor, reordered(values, &input)?);
        }
        let is = LayerKind::BatchNorm {
            momentum: settings.number_or("momentum", 0.99)?,
            epsilon: settings.number_or("epsilon", 1e-3)?,
            moving_variance: self.variance,
        };
        self.push(settings.name, is, input)
    }

    pub(super) fn prelu(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let mut weights = self.stored.take(settings.name, 1, self.file)?;
        let slopes = match input.dims[..] {
            [_, channels, _, _] => weights.next(&[1, 1, channels])?.flatten_all()?,
            _ => reordered(weights.next(&input.dims[1..])?, &input)?,
        };
        self.store(settings.name, "weight", slopes);
        self.push(settings.name, LayerKind::PRelu, input)
    }

    fn store(&mut self, layer: &str, tensor: &str, value: Tensor) {
        self.tensors.insert(format!("{layer}.{tensor}"), value);
    }
}

/// A value each of a flattened image, which Keras flattens as (height, width, channels), in this crate's order.
fn reordered(values: Tensor, input: &Output) -> Result<Tensor> {
    let Some([channels, height, width]) = input.flattened else { return Ok(values) };
    Ok(values.reshape((height, width, channels))?.permute((2, 0, 1))?.contiguous()?.flatten_all()?)
}
