//! Layers without settings to learn that change the shape: flattening, the global mean, upsampling, more channels.

use candle_core::{Module, Result, Tensor, bail};

use super::base::Layer;
use crate::Mode;
use crate::plan::Op;

/// `(batch, …)` to `(batch, values)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flatten;

/// `(batch, channels, height, width)` to the mean of every channel, `(batch, channels)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalMean;

/// Every value a square of equal ones: `(batch, channels, height, width)` to `(…, factor·height, factor·width)`.
#[derive(Clone, Copy, Debug)]
pub struct Upsample(usize);

impl Upsample {
    /// By this factor, at least 1.
    ///
    /// # Errors
    /// When it is 0.
    ///
    /// ```
    /// use candle_core::{Device, Module, Tensor};
    /// let xs = Tensor::new(&[[[[1_f32, 2.0]]]], &Device::Cpu)?;
    /// let ys = fer_nn::Upsample::new(2)?.forward(&xs)?;
    /// assert_eq!(ys.get(0)?.get(0)?.to_vec2::<f32>()?, [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn new(factor: usize) -> Result<Self> {
        if factor == 0 {
            bail!("upsample: the factor is 0, it must be at least 1")
        }
        Ok(Self(factor))
    }
}

/// Channels of zeros after those that there are: `(batch, channels, height, width)` to `(batch, more, height, width)`.
#[derive(Clone, Copy, Debug)]
pub struct PadChannels(usize);

impl PadChannels {
    /// Up to so many channels. An input may have fewer, not more.
    ///
    /// ```
    /// use candle_core::{Device, Module, Tensor};
    /// let xs = Tensor::new(&[[[[1_f32]], [[2.0]]]], &Device::Cpu)?;
    /// let ys = fer_nn::PadChannels::to(3).forward(&xs)?;
    /// assert_eq!(ys.flatten_all()?.to_vec1::<f32>()?, [1.0, 2.0, 0.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub const fn to(channels: usize) -> Self {
        Self(channels)
    }
}

impl Module for Flatten {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        xs.flatten_from(1)
    }
}

impl Module for GlobalMean {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (batch, channels, ..) = xs.dims4()?;
        xs.reshape((batch, channels, ()))?.mean(2)
    }
}

impl Module for Upsample {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = xs.dims4()?;
        let ys = xs.reshape((batch * channels, height, 1, width, 1))?;
        let ys = ys.broadcast_as((batch * channels, height, self.0, width, self.0))?.contiguous()?;
        ys.reshape((batch, channels, height * self.0, width * self.0))
    }
}

impl Module for PadChannels {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (_, channels, ..) = xs.dims4()?;
        match self.0.checked_sub(channels) {
            Some(more) => xs.pad_with_zeros(1, 0, more),
            None => bail!("pad_channels: at most {} channels, got {:?}", self.0, xs.dims()),
        }
    }
}

impl Layer for Flatten {
    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
        Module::forward(self, xs)
    }

    fn op(&self) -> Op {
        Op::Flatten
    }
}

impl Layer for GlobalMean {
    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
        Module::forward(self, xs)
    }

    fn op(&self) -> Op {
        Op::GlobalMean
    }
}

impl Layer for Upsample {
    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
        Module::forward(self, xs)
    }

    fn op(&self) -> Op {
        Op::Upsample(self.0)
    }
}

impl Layer for PadChannels {
    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor> {
        Module::forward(self, xs)
    }

    fn op(&self) -> Op {
        Op::PadChannels(self.0)
    }
}
