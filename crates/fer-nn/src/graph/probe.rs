//! A look into a network at one of its layers.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var, bail};

use super::Graph;
use crate::Mode;
use crate::plan::{Op, Source};

/// A network in inference, seen from one of its layers: what the layer gives, and how the network's output depends on that.
///
/// The layers up to it run as in inference, those behind it one by one, with gradients.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{Conv2dConfig, GlobalMean, Sequential, conv2d, dense, var_builder};
///
/// let vb = var_builder(&candle_nn::VarMap::new(), 42, &Device::Cpu);
/// let net = Sequential::new()
///     .add(conv2d(1, 8, 3, Conv2dConfig::default(), vb.pp("conv"))?)
///     .add(GlobalMean)
///     .add(dense(8, 3, Default::default(), vb.pp("out"))?);
/// let probe = net.graph().probe("conv")?;
/// let images = Tensor::ones((2, 1, 6, 6), DType::F32, &Device::Cpu)?;
/// let seen = probe.look(&images, &mut |logits| logits.get_on_dim(1, 0)?.sum_all())?;
/// assert_eq!(seen.output.dims(), [2, 3]);
/// assert_eq!((seen.values.dims(), seen.gradient.dims()), (&[2, 8, 6, 6][..], &[2, 8, 6, 6][..]));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    whole: Graph,
    /// The layer and those before it. Its outputs are the layer's and all else that is read behind it.
    before: Graph,
    layer: usize,
}

/// What a [`Probe`] sees of a batch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The network's output, as [`forward`](crate::Network::forward) gives it.
    pub output: Tensor,
    /// What the layer gives.
    pub values: Tensor,
    /// The gradient of the scalar that was asked for with respect to [`values`](Self::values), in their shape.
    pub gradient: Tensor,
}

impl Graph {
    /// A look into the network at the layer of this name.
    ///
    /// # Errors
    /// When no layer has the name, with those that there are, and for a value of another graph.
    pub fn probe(&self, layer: &str) -> Result<Probe> {
        self.pieces()?;
        let Some(place) = self.nodes.iter().position(|node| node.name == layer) else {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            bail!("no layer `{layer}`; there are {}", names.join(", "))
        };
        let inputs = self.nodes[place + 1..].iter().flat_map(|node| &node.inputs);
        let behind = inputs.chain(&self.outputs).filter(|source| source.of().is_some_and(|of| of < place));
        let mut outputs = vec![Source::Of(place)];
        for source in behind {
            if !outputs.contains(source) {
                outputs.push(*source);
            }
        }
        let before = Self {
            layers: self.layers[..=place].to_vec(),
            nodes: self.nodes[..=place].to_vec(),
            outputs,
            compute: self.compute,
            ..Self::default()
        };
        Ok(Probe { whole: self.clone(), before, layer: place })
    }

    /// The name of the convolution nearest to the output; none where there is no convolution.
    pub fn last_convolution(&self) -> Option<&str> {
        let is_convolution = |op: &Op| matches!(op, Op::Conv2d(_) | Op::ConvTranspose2d(_));
        self.nodes.iter().rev().find(|node| is_convolution(&node.op)).map(|node| node.name.as_str())
    }
}

impl Probe {
    /// The network's output for a batch, what the layer gives, and the gradient of the scalar that `of` makes of the output
    /// with respect to that.
    ///
    /// # Errors
    /// As [`forward`](crate::Network::forward), when `of` fails, and when its scalar does not depend on the layer.
    pub fn look(&self, images: &Tensor, of: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Seen> {
        let known = self.before.outputs.iter().copied().zip(self.before.forward_all(images, Mode::Eval)?);
        let mut values: HashMap<Source, Tensor> = known.collect();
        values.insert(Source::Images, images.to_dtype(DType::F32)?);
        let layer = Source::Of(self.layer);
        let var = Var::from_tensor(&values[&layer])?;
        values.insert(layer, var.as_tensor().clone());
        for (i, node) in self.whole.nodes.iter().enumerate().skip(self.layer + 1) {
            let xs = &values[&node.inputs[0]];
            let ys = match (&self.whole.layers[i], node.inputs.get(1)) {
                (Some(layer), _) => layer.forward(xs, Mode::Eval)?,
                (None, Some(other)) => (xs + &values[other])?,
                (None, None) => bail!("{}: no layer", node.name),
            };
            values.insert(Source::Of(i), ys);
        }
        let last = Source::Of(self.whole.nodes.len() - 1);
        let output = values[self.whole.outputs.first().unwrap_or(&last)].clone();
        let gradients = of(&output)?.backward()?;
        match gradients.get(&var) {
            Some(gradient) => Ok(Seen {
                output: output.detach(),
                values: var.as_detached_tensor(),
                gradient: gradient.clone(),
            }),
            None => bail!("`{}`: the output does not depend on it", self.whole.nodes[self.layer].name),
        }
    }
}
