//! The networks' weights, which this crate carries.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use fer_nn::{Activation, Conv2d, Conv2dConfig, Graph, Padding, Value};

/// The tensors of a safetensors file.
pub(crate) struct Weights(HashMap<String, Tensor>);

impl Weights {
    pub fn read(file: &[u8]) -> Result<Self> {
        Ok(Self(candle_core::safetensors::load_buffer(file, &Device::Cpu)?))
    }

    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        match self.0.remove(name) {
            Some(tensor) => tensor.to_dtype(DType::F32),
            None => bail!("no tensor {name}"),
        }
    }

    /// One layer of several that read the same: the outputs of each after those of the one before.
    pub fn join(&mut self, names: &[String], name: &str) -> Result<()> {
        for tensor in ["weight", "bias"] {
            let parts = names.iter().map(|part| self.take(&format!("{part}.{tensor}")));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            self.0.insert(format!("{name}.{tensor}"), Tensor::cat(&parts, 0)?);
        }
        Ok(())
    }

    /// Makes a convolution read its input's channels from the last to the first.
    pub fn reverse_inputs(&mut self, name: &str) -> Result<()> {
        let name = format!("{name}.weight");
        let turned = self.take(&name)?.flip(&[1])?;
        self.0.insert(name, turned);
        Ok(())
    }

    /// The convolution of this name, added to a graph.
    pub fn conv2d(&mut self, graph: &mut Graph, input: Value, name: &str, how: Conv) -> Result<Value> {
        let weight = self.take(&format!("{name}.weight"))?;
        let bias = self.take(&format!("{name}.bias"))?;
        let groups = if how.depthwise { weight.dim(0)? } else { 1 };
        let Conv { stride, padding, activation, .. } = how;
        let config = Conv2dConfig { padding, stride, groups, bias: true, activation };
        Ok(graph.add(input, Conv2d::new(weight, Some(bias), config)?.named(name)))
    }
}

pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// How a convolution is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    pub depthwise: bool,
    pub stride: usize,
    pub padding: Padding,
    pub activation: Activation,
}

impl Default for Conv {
    fn default() -> Self {
        Self { depthwise: false, stride: 1, padding: Padding::Same, activation: Activation::Linear }
    }
}
