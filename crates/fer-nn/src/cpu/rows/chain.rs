//! Layers one after the other, of which only the last is written whole.

use candle_core::Result;

use super::filters::Convolution;
use super::images::Images;
use super::layer::{From, Layer, Size, Step, Work};
use super::row::{TALLEST, Window};
use crate::Activation;
use crate::cpu::groups::GROUP;
use crate::geometry::{ConvShape, Padding};
use crate::plan::{Conv, Op, Stage};

/// The most channels of images that a convolution larger than 1×1 reads.
const FEW: usize = 4;

#[derive(Debug)]
pub(super) struct Chain {
    pub input: From,
    pub layers: Vec<Layer>,
    /// What it leaves as a map.
    pub leaves: From,
}

/// Whether a stage can be done row by row.
pub(super) fn takes(stage: &Stage) -> bool {
    match &stage.op {
        Op::Conv2d(conv) => {
            let is_affine = stage.norm.is_none() || stage.activation == Activation::Linear;
            is_affine && (is_depthwise(conv) || is_dense(conv))
        }
        Op::MaxPool2d(pool) => pool.is_two_by_two(),
        Op::Upsample(_) | Op::Sum | Op::Activation(_) | Op::PadChannels(_) => true,
        _ => false,
    }
}

/// Whether a stage is what makes rows worth while.
pub(super) fn is_light(stage: &Stage) -> bool {
    matches!(&stage.op, Op::Conv2d(conv) if is_depthwise(conv))
}

fn is_depthwise(conv: &Conv) -> bool {
    let dims = conv.weight.dims();
    conv.groups > 1 && dims[0] == conv.groups && dims[1] == 1 && dims[2] <= TALLEST
}

/// Whether it is 1×1, or larger and of few channels.
fn is_dense(conv: &Conv) -> bool {
    let dims = conv.weight.dims();
    conv.groups == 1 && (dims[2..] == [1, 1] || dims[1] <= FEW && dims[2] <= TALLEST)
}

impl Chain {
    /// A chain without layers that reads this for a stage.
    pub fn new(input: From, stage: &Stage, index: usize) -> Self {
        // Rows of a map have no zeros around them.
        let is_padded = match &stage.op {
            Op::Conv2d(conv) => {
                conv.weight.dims()[2..] != [1, 1] || !matches!(conv.padding, Padding::Same | Padding::Valid)
            }
            _ => false,
        };
        let layers = match input {
            From::Input(_) => vec![Layer::Load],
            From::Stage(_) if is_padded => vec![Layer::Copy(None)],
            From::Stage(_) => Vec::new(),
        };
        Self { input, layers, leaves: From::Stage(index) }
    }

    /// What is given from outside, as a map.
    pub fn loading(input: usize) -> Self {
        let input = From::Input(input);
        Self { input, layers: vec![Layer::Load], leaves: input }
    }

    /// Adds a stage, which adds `skip`.
    pub fn push(&mut self, stage: &Stage, index: usize, skip: Option<From>) {
        self.leaves = From::Stage(index);
        match &stage.op {
            Op::Conv2d(conv) => {
                // What stands right after the convolution; the rest stands after the addition.
                let (first, then) = match (stage.activation, skip) {
                    (Activation::Linear, None) => (stage.after, Activation::Linear),
                    (first, _) => (first, stage.after),
                };
                let relu = first == Activation::Relu;
                let convolution = Convolution::new(conv.clone(), stage.norm.clone(), relu);
                self.layers.push(Layer::Convolution(Box::new(convolution)));
                if !relu {
                    self.join(None, first);
                }
                self.join(skip, then);
            }
            Op::Sum => self.join(skip, Activation::Linear),
            Op::Activation(activation) => self.join(None, *activation),
            Op::MaxPool2d(_) => self.layers.push(Layer::Maximum),
            Op::Upsample(factor) => self.layers.push(Layer::Upsample(*factor)),
            Op::PadChannels(channels) => self.layers.push(Layer::Copy(Some(*channels))),
            _ => {}
        }
        if stage.pool {
            self.layers.push(Layer::Maximum);
        }
    }

    /// Adds an addition and an activation, in one layer with what stands before them where that is possible.
    fn join(&mut self, skip: Option<From>, after: Activation) {
        match (self.layers.last_mut(), skip, after) {
            (_, None, Activation::Linear) => {}
            (Some(Layer::Join(_, last @ Activation::Linear)), None, after) => *last = after,
            (Some(Layer::Convolution(of)), None, Activation::Relu) => of.relu = true,
            _ => self.layers.push(Layer::Join(skip, after)),
        }
    }

    /// Convolutions that read more than a row.
    pub fn tall(&self) -> usize {
        let is_tall = |layer: &&Layer| matches!(layer, Layer::Convolution(of) if of.kernel() != [1, 1]);
        self.layers.iter().filter(is_tall).count()
    }

    /// The sizes before the first layer and after each, given that of the input.
    pub fn sizes(&self, input: Size, batch: usize, of: impl Fn(From) -> Size) -> Result<Vec<Size>> {
        let mut sizes = vec![input];
        for layer in &self.layers {
            let skip = match layer {
                Layer::Join(skip, _) => skip.map(&of),
                _ => None,
            };
            sizes.push(layer.output(sizes[sizes.len() - 1], batch, skip)?);
        }
        Ok(sizes)
    }

    /// The layers with what they read: images, where the chain reads them, and whole maps.
    pub fn steps<'a>(
        &'a self,
        sizes: &[Size],
        images: Option<Images<'a>>,
        map: impl Fn(From) -> &'a [f32],
    ) -> Result<Vec<Step<'a>>> {
        let shapes = self.layers.iter().zip(sizes).map(|(layer, size)| match layer {
            Layer::Convolution(of) => of.conv.shape(&size.dims(1)).map(Some),
            _ => Ok(None),
        });
        let shapes = shapes.collect::<Result<Vec<_>>>()?;
        let mut row = sizes[0].row();
        let mut steps = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let input = row;
            row = sizes[i + 1].row();
            if let Some(Some(next)) = shapes.get(i + 1) {
                let columns = (next.out_width - 1) * next.stride + next.kernel.1;
                row.before = next.padding.1;
                row.after = columns.saturating_sub(row.before + row.width);
                if matches!(layer, Layer::Load) && next.groups == 1 && next.in_channels < GROUP {
                    row.pitch = next.in_channels;
                }
            }
            let mut window = Window::ROW;
            let input_channels = sizes[i].channels;
            let work = match (layer, shapes[i]) {
                (Layer::Convolution(of), Some(s)) => {
                    let ConvShape { kernel, stride, padding, .. } = s;
                    window = Window { kernel: kernel.0, stride, before: padding.0, repeat: 1 };
                    let filters = of.filters(input)?;
                    if of.is_depthwise() { Work::Depthwise(s, filters) } else { Work::Product(s, filters) }
                }
                (Layer::Maximum, _) => {
                    window = Window { kernel: 2, stride: 2, before: 0, repeat: 1 };
                    Work::Maximum
                }
                (Layer::Upsample(factor), _) => {
                    window.repeat = *factor;
                    Work::Upsample(*factor)
                }
                (Layer::Join(skip, after), _) => Work::Join(skip.map(&map), *after),
                (Layer::Load, _) => images.map_or(Work::Copy(input_channels), Work::Load),
                _ => Work::Copy(input_channels),
            };
            steps.push(Step { work, window, in_height: sizes[i].height, output: row });
        }
        Ok(steps)
    }
}
