//! A network as a table: the layers' names, shapes and variables.

use candle_core::{Result, Tensor, bail};

use super::{LayerInfo, Op, Plan, Source, Variable};

impl Op {
    /// The layer's tensors.
    pub fn variables(&self) -> Vec<Variable> {
        let variable = |name, tensor: &Tensor| Variable { name, tensor: tensor.clone() };
        let weights = |weight: &Tensor, bias: &Option<Tensor>| {
            let bias = bias.iter().map(|bias| variable("bias", bias));
            [variable("weight", weight)].into_iter().chain(bias).collect()
        };
        match self {
            Self::Conv2d(conv) | Self::ConvTranspose2d(conv) => weights(&conv.weight, &conv.bias),
            Self::Dense(dense) => weights(&dense.weight, &dense.bias),
            Self::BatchNorm(norm) => {
                vec![
                    variable("weight", &norm.weight),
                    variable("bias", &norm.bias),
                    variable("running_mean", norm.running_mean.as_tensor()),
                    variable("running_var", norm.running_var.as_tensor()),
                ]
            }
            Self::PRelu(slopes) => vec![variable("weight", slopes)],
            _ => Vec::new(),
        }
    }

    /// The shape of the output for inputs of these shapes; `None` for what the layer alone knows.
    ///
    /// # Errors
    /// When the layer cannot have such inputs.
    pub(crate) fn output(&self, inputs: &[&[usize]]) -> Result<Option<Vec<usize>>> {
        let Some(&input) = inputs.first() else { bail!("a layer has an input") };
        let image = |op: &str| match *input {
            [batch, channels, height, width] => Ok((batch, channels, [height, width])),
            _ => bail!("{op}: expected (batch, channels, height, width), got {input:?}"),
        };
        Ok(Some(match self {
            Self::Conv2d(conv) => conv.shape(input)?.out_dims().to_vec(),
            Self::ConvTranspose2d(conv) => {
                let s = conv.transposed_shape(input)?;
                vec![s.batch, s.in_channels, s.height, s.width]
            }
            Self::Dense(dense) => {
                let [_, _] = *input else { bail!("dense: expected (batch, inputs), got {input:?}") };
                let shape = dense.shape(input)?;
                vec![shape.batch, shape.outputs]
            }
            Self::BatchNorm(norm) if input.get(1) != Some(&norm.channels()) => {
                bail!("batch_norm: expected (batch, {}, …), got {input:?}", norm.channels())
            }
            Self::PRelu(slopes) if input.get(1) != Some(&slopes.elem_count()) => {
                bail!("prelu: expected (batch, {}, …), got {input:?}", slopes.elem_count())
            }
            Self::BatchNorm(_) | Self::Activation(_) | Self::PRelu(_) | Self::Dropout(_) => input.to_vec(),
            Self::MaxPool2d(pool) | Self::MeanPool2d(pool) => {
                let op = if matches!(self, Self::MaxPool2d(_)) { "max_pool2d" } else { "mean_pool2d" };
                let (batch, channels, size) = image(op)?;
                let windows = pool.windows(op, size)?;
                vec![batch, channels, windows.out_height, windows.out_width]
            }
            Self::GlobalMean => {
                let (batch, channels, _) = image("global_mean")?;
                vec![batch, channels]
            }
            Self::Flatten => {
                let [batch, rest @ ..] = input else {
                    bail!("flatten: expected (batch, …), got {input:?}")
                };
                vec![*batch, rest.iter().product()]
            }
            Self::Upsample(factor) => {
                let (batch, channels, size) = image("upsample")?;
                let [Some(height), Some(width)] = size.map(|size| size.checked_mul(*factor)) else {
                    bail!("upsample: {size:?} times {factor} is too large")
                };
                vec![batch, channels, height, width]
            }
            Self::PadChannels(channels) => {
                let (batch, before, [height, width]) = image("pad_channels")?;
                if before > *channels {
                    bail!("pad_channels: at most {channels} channels, got {input:?}")
                }
                vec![batch, *channels, height, width]
            }
            Self::Sum => match inputs {
                [a, b] if a == b => a.to_vec(),
                _ => bail!("sum: expected two inputs of one shape, got {inputs:?}"),
            },
            Self::Own => return Ok(None),
        }))
    }
}

impl Plan {
    /// The layers for an input of these dimensions; `own` tells the output of a layer that only knows it itself.
    pub fn table(
        &self,
        input: &[usize],
        own: impl Fn(usize, &[usize]) -> Result<Vec<usize>>,
    ) -> Result<Vec<LayerInfo>> {
        let mut table: Vec<LayerInfo> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let shape = |source: &Source| match *source {
                Source::Images => input,
                Source::Of(of) => &table[of].output[..],
            };
            let inputs: Vec<&[usize]> = node.inputs.iter().map(shape).collect();
            let named = |error: candle_core::Error| error.context(format!("layer `{}`", node.name));
            let output = match node.op.output(&inputs).map_err(named)? {
                Some(output) => output,
                None => own(i, inputs.first().copied().unwrap_or(input)).map_err(named)?,
            };
            table.push(LayerInfo {
                name: node.name.clone(),
                op: node.op.clone(),
                inputs: node.inputs.iter().map(|source| source.of()).collect(),
                output,
                variables: node.variables.clone(),
            });
        }
        Ok(table)
    }
}
