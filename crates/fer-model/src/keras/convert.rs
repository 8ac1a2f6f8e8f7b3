//! From Keras' layers and weights to this crate's.

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use fer_nn::{Activation, MovingVariance, Padding};

use super::file::KerasFile;
use super::imported::Imported;
use super::model_config::{Model, Node};
use super::settings::{ONLY_IN_TRAINING, Settings};
use crate::layer_config::{LayerConfig, LayerKind, output};
use crate::{DcnnConfig, Error, LayersConfig, Preprocessing, Result};

/// What a layer gives.
#[derive(Clone)]
pub(super) struct Output {
    /// The layer of ours, or `images`.
    pub name: String,
    /// Of a batch of one.
    pub dims: Vec<usize>,
    /// Whether it is the pixels themselves, which no `Rescaling` has seen.
    pub is_raw: bool,
    /// The `(channels, height, width)` whose flattening it is.
    pub flattened: Option<[usize; 3]>,
    /// Zeros around it that the next convolution adds.
    pub padding: Option<Padding>,
    pub is_probability: bool,
}

/// The network that a description and a file's weights make.
pub(super) fn convert(model: Model, mut stored: KerasFile, file: &str) -> Result<Imported> {
    let crate::Input { channels, height, width } = model.input;
    let images = Output {
        name: "images".to_owned(),
        dims: vec![1, channels, height, width],
        is_raw: true,
        flattened: None,
        padding: None,
        is_probability: false,
    };
    let variance = if stored.keras3 { MovingVariance::Biased } else { MovingVariance::Keras2 };
    stored.name_by(&model.listed);
    let mut work = Work {
        file,
        stored,
        variance,
        outputs: HashMap::from([("images".to_owned(), images.clone())]),
        names: model.listed.iter().map(|(_, name)| (*name).to_owned()).collect(),
        layers: Vec::new(),
        tensors: HashMap::new(),
        raw_is_read: false,
        preprocessing: None,
        notes: Vec::new(),
    };
    let mut last = images;
    for node in &model.nodes {
        last = work.add(node)?;
        work.outputs.insert(node.name.to_owned(), last.clone());
    }
    work.finish(model, &last)
}

/// A network that is being made.
pub(super) struct Work<'a> {
    pub file: &'a str,
    pub stored: KerasFile,
    pub variance: MovingVariance,
    /// What each layer of Keras gives.
    outputs: HashMap<String, Output>,
    /// The names of Keras' layers, and those made up beside them.
    names: HashSet<String>,
    layers: Vec<LayerConfig>,
    pub tensors: HashMap<String, Tensor>,
    /// Whether a layer reads the pixels without a `Rescaling`.
    raw_is_read: bool,
    preprocessing: Option<Preprocessing>,
    notes: Vec<String>,
}

impl Work<'_> {
    fn wrong(&self, node: &Node, found: impl ToString, expected: impl ToString) -> Error {
        Error::keras_layer(self.file, node.name, found, expected)
    }

    /// What the layer reads, where it reads one thing.
    fn input(&self, node: &Node) -> Result<Output> {
        match node.inputs[..] {
            [input] => self.read(node, input),
            _ => Err(self.wrong(node, format!("{} inputs", node.inputs.len()), "1")),
        }
    }

    fn read(&self, node: &Node, input: &str) -> Result<Output> {
        let Some(output) = self.outputs.get(input) else {
            return Err(self.wrong(node, format!("input '{input}'"), "a layer before it"));
        };
        if output.is_probability {
            return Err(self.wrong(node, "a softmax before it", "a softmax at the end alone"));
        }
        let convolves = ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"].contains(&node.class);
        if output.padding.is_some() && !convolves {
            return Err(self.wrong(node, "ZeroPadding2D before it", "a convolution after ZeroPadding2D"));
        }
        Ok(output.clone())
    }

    /// Adds what does the same as a layer of Keras.
    fn add(&mut self, node: &Node) -> Result<Output> {
        let settings = Settings { file: self.file, name: node.name, config: node.config };
        settings.check("data_format", &["channels_last"])?;
        if node.class == "InputLayer" {
            return Ok(self.outputs["images"].clone());
        }
        if node.class == "Add" {
            return self.sum(node);
        }
        let input = self.input(node)?;
        match node.class {
            class if ONLY_IN_TRAINING.contains(&class) => {
                if class != "Identity" {
                    self.notes.push(format!("layer '{}' ({class}) is left out: it does nothing after training", node.name));
                }
                Ok(input)
            }
            "Dropout" => self.push(node.name, LayerKind::Dropout { rate: settings.number("rate")? as f32 }, input),
            "Rescaling" => self.rescale(&settings, input),
            "Flatten" => self.flatten(node.name, input),
            "Reshape" => self.reshape(&settings, input),
            "ZeroPadding2D" => Ok(Output { padding: Some(settings.zero_padding()?), ..input }),
            "Conv2D" => self.convolution(&settings, input),
            "DepthwiseConv2D" => self.depthwise(&settings, input),
            "SeparableConv2D" => self.separable(&settings, input),
            "Dense" => self.dense(&settings, input),
            "BatchNormalization" => self.batch_norm(&settings, input),
            "MaxPooling2D" | "AveragePooling2D" => {
                let (size, stride, padding) = settings.pool()?;
                let is = match node.class {
                    "MaxPooling2D" => LayerKind::MaxPool2d { size, stride, padding },
                    _ => LayerKind::MeanPool2d { size, stride, padding },
                };
                self.push(node.name, is, input)
            }
            "GlobalAveragePooling2D" => {
                settings.check("keepdims", &["false"])?;
                self.push(node.name, LayerKind::GlobalMean, input)
            }
            "UpSampling2D" => {
                settings.check("interpolation", &["nearest"])?;
                let factor = settings.square("size", Some(2))?;
                self.push(node.name, LayerKind::Upsample { factor }, input)
            }
            "PReLU" => self.prelu(&settings, input),
            "Activation" => {
                let found = settings.own_activation()?;
                self.activate(&settings, found, input)
            }
            "ReLU" | "LeakyReLU" | "ELU" | "Softmax" => {
                let found = settings.activation_layer(node.class)?;
                self.activate(&settings, found, input)
            }
            class => Err(self.wrong(
                node,
                format!("class {class}, which cannot be imported"),
                "convolutions, dense layers, batch norm, pooling, activations, sums, and layers of training alone",
            )),
        }
    }

    /// Adds a layer that reads `input`, and finds what it gives.
    pub(super) fn push(&mut self, name: &str, is: LayerKind, input: Output) -> Result<Output> {
        let failed = |source| Error::Layer { layer: name.to_owned(), source };
        let zeros = VarBuilder::zeros(DType::F32, &Device::Cpu);
        let layer = is.layer(name, &input.dims, zeros).map_err(failed)?;
        let dims = match &layer {
            Some(layer) => output(&**layer, &input.dims).map_err(failed)?,
            None => input.dims.clone(),
        };
        let keeps = matches!(
            is,
            LayerKind::Dropout { .. }
                | LayerKind::Activation(_)
                | LayerKind::BatchNorm { .. }
                | LayerKind::PRelu
        );
        let flattened = input.flattened.filter(|_| keeps);
        self.record(LayerConfig::new(name, is), &[&input]);
        let name = name.to_owned();
        Ok(Output { name, dims, is_raw: false, flattened, padding: None, is_probability: false })
    }

    /// Writes down a layer; what reads the one before it need not say so.
    fn record(&mut self, layer: LayerConfig, inputs: &[&Output]) {
        self.raw_is_read |= inputs.iter().any(|input| input.is_raw);
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let before = self.layers.last().map_or("images", |layer| &layer.name);
        let layer = if names == [before] { layer } else { layer.reading(&names) };
        self.layers.push(layer);
    }

    /// This name, or one like it that no layer has.
    pub(super) fn free_name(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while !self.names.insert(free.clone()) {
            free.push('_');
        }
        free
    }

    fn sum(&mut self, node: &Node) -> Result<Output> {
        let inputs = node.inputs.iter().map(|input| self.read(node, input)).collect::<Result<Vec<_>, _>>()?;
        let [first, rest @ ..] = &inputs[..] else {
            return Err(self.wrong(node, "no inputs", "two or more"));
        };
        if rest.is_empty() {
            // As `x + 1.0` in Keras 3.
            return Err(self.wrong(node, "one layer as its input", "two or more; a constant is not added"));
        }
        let mut sum = first.clone();
        for (i, input) in rest.iter().enumerate() {
            if (&input.dims, input.flattened) != (&sum.dims, sum.flattened) {
                let found = format!("inputs of {:?} and {:?}", &sum.dims[1..], &input.dims[1..]);
                return Err(self.wrong(node, found, "inputs of one shape"));
            }
            let name = match i + 1 == rest.len() {
                true => node.name.to_owned(),
                false => self.free_name(&format!("{}_{}", node.name, i + 1)),
            };
            self.record(LayerConfig::new(&name, LayerKind::Sum), &[&sum, input]);
            sum = Output { name, is_raw: false, ..sum };
        }
        Ok(sum)
    }

    fn rescale(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        if !input.is_raw || self.preprocessing.is_some() {
            return Err(settings.wrong("a layer before it", "Rescaling at the input alone"));
        }
        let (scale, offset) = (settings.number("scale")?, settings.number_or("offset", 0.0)?);
        self.preprocessing =
            Some(Preprocessing { scale: scale as f32, mean: -offset as f32, ..Preprocessing::default() });
        Ok(Output { is_raw: false, ..input })
    }

    fn flatten(&mut self, name: &str, input: Output) -> Result<Output> {
        let flattened = match input.dims[..] {
            [_, channels, height, width] => Some([channels, height, width]),
            // A vector is flat already.
            _ => return Ok(input),
        };
        Ok(Output { flattened, ..self.push(name, LayerKind::Flatten, input)? })
    }

    /// A reshaping that keeps the shape or flattens.
    fn reshape(&mut self, settings: &Settings, input: Output) -> Result<Output> {
        let wanted = settings.sizes("target_shape")?;
        let (shape, values) = match input.dims[..] {
            [_, channels, height, width] => (vec![height, width, channels], channels * height * width),
            _ => (input.dims[1..].to_vec(), input.dims[1..].iter().product()),
        };
        match wanted[..] {
            _ if wanted == shape => Ok(input),
            [n] if n == values => self.flatten(settings.name, input),
            _ => Err(settings.wrong(
                format!("target_shape {wanted:?} for {shape:?}"),
                "one that keeps the shape or flattens",
            )),
        }
    }

    /// An activation that is a layer of its own, and whether it makes probabilities.
    fn activate(
        &mut self,
        settings: &Settings,
        (activation, outer): (Activation, bool),
        input: Output,
    ) -> Result<Output> {
        match activation {
            Activation::Linear => Ok(Output { is_probability: outer, ..input }),
            activation => self.push(settings.name, LayerKind::Activation(activation), input),
        }
    }

    fn finish(mut self, model: Model, last: &Output) -> Result<Imported> {
        let file = self.file;
        let [_, classes] = last.dims[..] else {
            let found = format!("{:?}", &last.dims[1..]);
            return Err(Error::keras(
                file,
                format!("the network gives {found}; allowed: a probability a class"),
            ));
        };
        let ends_in = self.layers.last().map(|layer| &layer.is);
        if let Some(
            LayerKind::Activation(Activation::Sigmoid)
            | LayerKind::Dense { activation: Activation::Sigmoid, .. }
            | LayerKind::Conv2d { activation: Activation::Sigmoid, .. },
        ) = ends_in
        {
            let message = "the network ends in a sigmoid; allowed: a softmax, whose probabilities sum to 1";
            return Err(Error::keras(file, message));
        }
        if self.preprocessing.is_some() && self.raw_is_read {
            let message =
                "some layers read the image, others what a Rescaling makes of it; allowed: one of the two";
            return Err(Error::keras(file, message));
        }
        if !last.is_probability {
            self.notes
                .push("the network ends without a softmax: what it gives is taken for logits".to_owned());
        }
        if let Some(layer) =
            self.stored.rest().find(|layer| !ONLY_IN_TRAINING.iter().any(|class| layer.is_of(class)))
        {
            return Err(Error::keras_layer(
                file,
                &layer.name,
                "weights",
                "no weights of layers that the description lacks",
            ));
        }
        let (input, layers) = (model.input, self.layers);
        let (architecture, tensors) = match DcnnConfig::of_layers(&layers, input, classes) {
            Some((dcnn, names)) => {
                let renamed = |(tensor, value): (String, Tensor)| {
                    let (layer, rest) = tensor.rsplit_once('.').unwrap_or((&tensor, ""));
                    (format!("{}.{rest}", names.get(layer).map_or(layer, String::as_str)), value)
                };
                (dcnn.into(), self.tensors.into_iter().map(renamed).collect())
            }
            None => (LayersConfig { layers }.into(), self.tensors),
        };
        let (preprocessing, notes) = (self.preprocessing, self.notes);
        Ok(Imported { architecture, input, classes, preprocessing, tensors, notes })
    }
}
