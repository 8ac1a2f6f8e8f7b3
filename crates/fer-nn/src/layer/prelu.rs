//! The rectifier whose slope below 0 is learned (He, Zhang, Ren and Sun 2015).

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::base::Layer;

/// x where x > 0, else the channel's slope times x.
///
/// # Shapes
/// - input and output `(batch, channels, …)`
/// - weight, the slopes, `(channels)`
#[derive(Clone, Debug)]
pub struct PRelu {
    name: String,
    weight: Tensor,
}

impl PRelu {
    /// A layer with these slopes.
    ///
    /// # Errors
    /// When they are not a vector.
    pub fn new(weight: Tensor) -> Result<Self> {
        weight.dims1()?;
        Ok(Self { name: String::new(), weight })
    }

    /// The same layer under a name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The slopes.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The output for a batch.
    ///
    /// # Errors
    /// When the input is not `(batch, channels, …)`.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.op().output(&[xs.dims()])?;
        let mut dims = vec![1; xs.rank()];
        dims[1] = self.weight.elem_count();
        let below = xs.neg()?.relu()?.broadcast_mul(&self.weight.reshape(dims)?)?;
        xs.relu()? - below
    }
}

/// Makes a layer whose slopes begin at 0.25, as in PyTorch.
///
/// # Errors
/// When the builder holds another shape under this name.
pub fn prelu(channels: usize, vb: VarBuilder) -> Result<PRelu> {
    let weight = vb.get_with_hints(channels, "weight", Init::Const(0.25))?;
    Ok(PRelu::new(weight)?.named(vb.prefix()))
}

layer!(PRelu, weight);
