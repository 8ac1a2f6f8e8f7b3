//! What rows flow through.

use candle_core::{Result, bail};

use super::depthwise::Depthwise;
use super::filters::{Convolution, Filters};
use super::images::Images;
use super::product::Product;
use super::row::{Kept, Row, Under, Window};
use crate::Activation;
use crate::cpu::activate::for_function;
use crate::cpu::groups::{GROUP, groups};
use crate::cpu::pool::greater;
use crate::cpu::vectorized;
use crate::geometry::{ConvShape, Padding, Windows};

/// Where a chain reads, what it adds, or what it leaves. Inputs come before stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// What is given from outside.
    Input(usize),
    /// The output of a stage.
    Stage(usize),
}

/// A layer of a chain.
#[derive(Debug)]
pub(super) enum Layer {
    /// Images or plain tensors as rows.
    Load,
    /// The same rows, between zeros where the next layer wants them, with more channels of zeros up to so many.
    Copy(Option<usize>),
    Convolution(Box<Convolution>),
    /// The maximum of every 2×2 values.
    Maximum,
    Upsample(usize),
    /// A stage's output added, then an activation.
    Join(Option<From>, Activation),
}

/// Channels, height and width of an image on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Size {
    pub fn row(&self) -> Row {
        Row { groups: groups(self.channels), pitch: GROUP, width: self.width, ..Row::default() }
    }

    pub fn dims(&self, batch: usize) -> [usize; 4] {
        [batch, self.channels, self.height, self.width]
    }
}

impl Layer {
    /// The size of the output; `skip` is that of what is added.
    pub fn output(&self, input: Size, batch: usize, skip: Option<Size>) -> Result<Size> {
        let Size { channels, height, width } = input;
        match self {
            Self::Load | Self::Copy(None) => Ok(input),
            Self::Copy(Some(channels)) if *channels >= input.channels => {
                Ok(Size { channels: *channels, ..input })
            }
            Self::Copy(Some(channels)) => {
                bail!("pad_channels: at most {channels} channels, got {:?}", input.dims(batch))
            }
            Self::Convolution(of) => {
                let s = of.conv.shape(&input.dims(batch))?;
                Ok(Size { channels: s.out_channels, height: s.out_height, width: s.out_width })
            }
            Self::Maximum => {
                let windows = Windows::new("max_pool2d", [height, width], 2, 2, Padding::Valid)?;
                Ok(Size { channels, height: windows.out_height, width: windows.out_width })
            }
            Self::Upsample(factor) => match [height, width].map(|size| size.checked_mul(*factor)) {
                [Some(height), Some(width)] => Ok(Size { channels, height, width }),
                _ => bail!("upsample: {:?} times {factor} is too large", [height, width]),
            },
            Self::Join(..) => match skip {
                Some(skip) if skip != input => {
                    let [a, b] = [input, skip].map(|size| size.dims(batch));
                    bail!("sum: expected two inputs of one shape, got {a:?} and {b:?}")
                }
                _ => Ok(input),
            },
        }
    }

    /// Multiplications for an image, nearly: what a value costs elsewhere counts as one.
    pub fn work(&self, output: Size) -> usize {
        let of_position = match self {
            Self::Convolution(of) => of.conv.weight.elem_count(),
            _ => output.channels,
        };
        output.height * output.width * of_position
    }
}

/// A layer with all that it reads, for images of one size.
pub(super) struct Step<'a> {
    pub work: Work<'a>,
    pub window: Window,
    /// Rows of the input.
    pub in_height: usize,
    pub output: Row,
}

pub(super) enum Work<'a> {
    Load(Images<'a>),
    /// So many channels; the others become 0.
    Copy(usize),
    Product(ConvShape, Filters<'a>),
    Depthwise(ConvShape, Filters<'a>),
    Maximum,
    Upsample(usize),
    /// What is added, `(batch, height, groups, width, 16)`.
    Join(Option<&'a [f32]>, Activation),
}

impl Step<'_> {
    /// Makes row `y` of an image of the rows under it.
    pub fn run(&self, image: usize, y: usize, input: Kept, out: &mut [f32]) {
        let under = Under::new(input, self.window, y, self.in_height);
        let output = self.output;
        match &self.work {
            Work::Load(images) => images.load(image, y, output, out),
            Work::Copy(channels) => copy(&under, *channels, output, out),
            Work::Product(s, filters) => Product {
                under,
                in_channels: s.in_channels,
                kernel: s.kernel.into(),
                stride: s.stride,
                filters,
                output,
                out,
            }
            .run(),
            Work::Depthwise(s, filters) => {
                Depthwise { under, kernel: s.kernel.into(), stride: s.stride, filters, output, out }.run();
            }
            Work::Maximum => maximum(&under, output, out),
            Work::Upsample(factor) => {
                for group in 0..output.groups {
                    let from = under.row.lanes(under.rows()[0], group);
                    let to = output.lanes_mut(out, group).chunks_exact_mut(*factor);
                    to.zip(from).for_each(|(to, from)| to.fill(*from));
                }
            }
            Work::Join(skip, after) => {
                let plain = Row { before: 0, after: 0, ..output };
                let height = self.in_height;
                let skip = skip.map(|map| &map[(image * height + y) * plain.len()..][..plain.len()]);
                for group in 0..output.groups {
                    let x = under.row.columns(under.rows()[0], group);
                    let out = output.columns_mut(out, group);
                    match skip {
                        Some(skip) => {
                            let skip = plain.columns(skip, group);
                            for_function!(*after, |f| {
                                for ((out, x), skip) in out.iter_mut().zip(x).zip(skip) {
                                    *out = f(x + skip);
                                }
                            });
                        }
                        None => {
                            for_function!(*after, |f| out
                                .iter_mut()
                                .zip(x)
                                .for_each(|(out, &x)| *out = f(x)));
                        }
                    }
                }
            }
        }
    }
}

fn copy(under: &Under, channels: usize, output: Row, out: &mut [f32]) {
    let input = under.rows()[0];
    for group in 0..output.groups {
        let to = output.columns_mut(out, group);
        let kept = channels.saturating_sub(group * GROUP);
        if kept == 0 {
            to.fill(0.0);
            continue;
        }
        to.copy_from_slice(under.row.columns(input, group));
        // What lies beyond the channels of the input is not always 0.
        let to = to.as_chunks_mut::<GROUP>().0;
        to.iter_mut().for_each(|lanes| lanes[kept.min(GROUP)..].fill(0.0));
    }
}

fn maximum(under: &Under, output: Row, out: &mut [f32]) {
    for group in 0..output.groups {
        let [top, bottom] = [0, 1].map(|y| under.row.lanes(under.rows()[y], group).as_chunks::<2>().0);
        let out = output.lanes_mut(out, group);
        vectorized(
            #[inline(always)]
            || {
                for ((out, [a, b]), [c, d]) in out.iter_mut().zip(top).zip(bottom) {
                    for i in 0..GROUP {
                        out[i] = greater(greater(a[i], b[i]), greater(c[i], d[i]));
                    }
                }
            },
        );
    }
}
