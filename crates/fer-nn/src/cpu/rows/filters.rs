//! The weights of a convolution in the order in which rows read them.

use std::borrow::Cow;
use std::sync::OnceLock;

use candle_core::Result;

use super::line::{Line, in_lines};
use super::row::Row;
use crate::channel::constants;
use crate::cpu::groups::{GROUP, groups};
use crate::cpu::read;
use crate::plan::{Conv, Norm};

/// A convolution with the normalisation after it.
#[derive(Debug)]
pub(super) struct Convolution {
    pub conv: Conv,
    norm: Option<Norm>,
    /// Whether negative outputs become 0.
    pub relu: bool,
    /// The weight in order, where it never changes.
    packed: OnceLock<Vec<Line>>,
}

/// What a row of a convolution's output is made with.
#[derive(Clone, Debug)]
pub(super) struct Filters<'a> {
    /// Of a depthwise convolution `(groups, kernel height, kernel width, 16)`; else for every group of outputs those of every row
    /// of the kernel, group of inputs, column and channel of the input as its rows lie, `(…, 16)`.
    pub weight: Cow<'a, [Line]>,
    /// What sums are multiplied by, and what is added then.
    pub scale: Vec<Line>,
    pub shift: Vec<Line>,
    pub relu: bool,
}

impl Convolution {
    pub fn new(conv: Conv, norm: Option<Norm>, relu: bool) -> Self {
        Self { conv, norm, relu, packed: OnceLock::new() }
    }

    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        let dims = self.conv.weight.dims();
        [dims[2], dims[3]]
    }

    pub fn is_depthwise(&self) -> bool {
        self.conv.groups > 1
    }

    /// The weight for an input whose rows lie so.
    pub fn filters(&self, input: Row) -> Result<Filters<'_>> {
        let order = |values: &[f32]| match self.is_depthwise() {
            true => self.by_channel(values),
            false => self.by_input(values, input.pitch),
        };
        let weight = match self.packed.get() {
            Some(packed) => Cow::Borrowed(&packed[..]),
            None => {
                let packed = read(&self.conv.weight, order)?;
                // The rows of an input lie in one way only.
                match self.conv.weight.is_variable() {
                    true => Cow::Owned(packed),
                    false => Cow::Borrowed(&self.packed.get_or_init(|| packed)[..]),
                }
            }
        };
        let channels = self.conv.weight.dims()[0];
        let bias = match &self.conv.bias {
            Some(bias) => read(bias, <[f32]>::to_vec)?,
            None => vec![0.0; channels],
        };
        let (mut scale, mut shift) = (vec![1.0; channels], bias);
        if let Some(norm) = &self.norm {
            let (mean, var) = norm.moving()?;
            let of_channels = read(&norm.weight, |gamma| constants(&mean, &var, gamma, norm.epsilon))?;
            let betas = read(&norm.bias, <[f32]>::to_vec)?;
            for (i, (channel, &beta)) in of_channels.iter().zip(&betas).enumerate() {
                let [factor, shifted] = channel.affine(beta);
                (scale[i], shift[i]) = (factor, (shift[i] - channel.center()) * factor + shifted);
            }
        }
        Ok(Filters { weight, scale: in_lines(&scale), shift: in_lines(&shift), relu: self.relu })
    }

    fn by_channel(&self, values: &[f32]) -> Vec<Line> {
        let taps: usize = self.kernel().iter().product();
        let channels = self.conv.weight.dims()[0];
        let mut packed = vec![Line([0.0; GROUP]); groups(channels) * taps];
        for (i, &value) in values.iter().enumerate() {
            let (channel, tap) = (i / taps, i % taps);
            packed[channel / GROUP * taps + tap].0[channel % GROUP] = value;
        }
        packed
    }

    fn by_input(&self, values: &[f32], pitch: usize) -> Vec<Line> {
        let [height, width] = self.kernel();
        let [out_channels, in_channels] = [self.conv.weight.dims()[0], self.conv.weight.dims()[1]];
        let mut packed = Vec::new();
        for outputs in 0..groups(out_channels) {
            for ky in 0..height {
                for inputs in 0..in_channels.div_ceil(pitch) {
                    for at in 0..depth(width, pitch, in_channels, inputs) {
                        let (kx, input) = (at / pitch, inputs * pitch + at % pitch);
                        packed.push(Line(std::array::from_fn(|lane| {
                            let output = outputs * GROUP + lane;
                            if output >= out_channels || input >= in_channels {
                                return 0.0;
                            }
                            values[((output * in_channels + input) * height + ky) * width + kx]
                        })));
                    }
                }
            }
        }
        packed
    }
}

/// The values of one group of a row of the input that a sum takes in: all under the kernel, and those of the channels alone where
/// it is one column wide.
pub(super) fn depth(kernel_width: usize, pitch: usize, channels: usize, group: usize) -> usize {
    match kernel_width {
        1 => pitch.min(channels - group * pitch),
        _ => kernel_width * pitch,
    }
}
