//! YuNet-s, which finds faces: 53,104 parameters (Wu, Peng and Yu 2023, libfacedetection v3).

use candle_core::{Device, Result, Tensor};
use fer_nn::{Activation, Graph, MaxPool2d, Mode, Padding, Upsample, Value};
use image::RgbImage;

use crate::geometry::{Point, Rect};
use crate::suppress::suppress;
use crate::weights::{Conv, Weights, sigmoid};

/// Pixels from one place to the next at which faces are looked for, at each level.
const STRIDES: [usize; 3] = [8, 16, 32];

/// Boxes of one face overlap by more than this.
pub(crate) const OVERLAP: f32 = 0.45;

/// What is found at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub bounds: Rect,
    /// 0 to 1.
    pub score: f32,
    /// The eye and the corner of the mouth that lie to the left in an upright face, and those to the right, with the nose:
    /// left eye, right eye, nose, left corner, right corner, as they are seen.
    pub landmarks: [Point; 5],
}

#[derive(Clone, Debug)]
pub(crate) struct YuNet(Graph);

impl YuNet {
    pub fn new() -> Result<Self> {
        let mut weights = Weights::read(include_bytes!("../weights/yunet_s.safetensors"))?;
        // The network was made for blue, green and red.
        weights.reverse_inputs("backbone.stem")?;
        for level in 0..STRIDES.len() {
            for part in ["pointwise", "depthwise"] {
                let heads = ["class", "box", "object", "points"];
                weights.join(
                    &heads.map(|head| format!("head.{level}.{head}.{part}")),
                    &format!("head.{level}.{part}"),
                )?;
            }
        }
        let mut graph = Graph::new();
        let relu = Activation::Relu;
        let stem = Conv { stride: 2, padding: Padding::all(1), activation: relu, ..Conv::default() };
        let images = graph.images();
        let x = weights.conv2d(&mut graph, images, "backbone.stem", stem)?;
        let mut block = |graph: &mut Graph, x: Value, name: &str, activation: Activation| {
            let x = weights.conv2d(graph, x, &format!("{name}.pointwise"), Conv::default())?;
            let depthwise = Conv { depthwise: true, activation, ..Conv::default() };
            weights.conv2d(graph, x, &format!("{name}.depthwise"), depthwise)
        };
        let mut x = block(&mut graph, x, "backbone.0", relu)?;
        let mut levels = Vec::new();
        for stage in 1..6 {
            // The second stage works on what the first leaves.
            if stage != 2 {
                x = graph.add(x, MaxPool2d::new(2, 2)?);
            }
            for part in ["first", "second"] {
                x = block(&mut graph, x, &format!("backbone.{stage}.{part}"), relu)?;
            }
            if stage >= 3 {
                levels.push(x);
            }
        }
        // From the coarsest level down, each with what the one above it saw.
        for level in (0..3).rev() {
            if level < 2 {
                let above = graph.add(levels[level + 1], Upsample::new(2)?);
                levels[level] = graph.sum(levels[level], above);
            }
            levels[level] = block(&mut graph, levels[level], &format!("neck.{level}"), relu)?;
        }
        let mut outputs = Vec::new();
        for (level, &x) in levels.iter().enumerate() {
            outputs.push(block(&mut graph, x, &format!("head.{level}"), Activation::Linear)?);
        }
        graph.outputs(outputs);
        Ok(Self(graph))
    }

    /// The faces of a picture that have at least this score, the surest first.
    pub fn find(&self, picture: &RgbImage, threshold: f32) -> Result<Vec<Found>> {
        let outputs = self.0.forward_all(&input(picture)?, Mode::Eval)?;
        let mut found = Vec::new();
        for (&stride, heads) in STRIDES.iter().zip(&outputs) {
            decode(heads, stride as f32, threshold, &mut found)?;
        }
        Ok(once(&found, OVERLAP))
    }
}

/// Each face once, as where it is surest, if boxes that overlap by more than `most` are of one face; the surest first.
pub(crate) fn once(found: &[Found], most: f32) -> Vec<Found> {
    let boxes: Vec<_> = found.iter().map(|face| face.bounds).collect();
    let scores: Vec<_> = found.iter().map(|face| face.score).collect();
    suppress(&boxes, &scores, most).into_iter().map(|i| found[i]).collect()
}

/// Red, green and blue, 0 to 255, with zeros to the right and below up to multiples of the coarsest stride.
fn input(picture: &RgbImage) -> Result<Tensor> {
    let full = |side: u32| (side as usize).next_multiple_of(STRIDES[2]);
    let (width, height) = (full(picture.width()), full(picture.height()));
    let mut values = vec![0; height * width * 3];
    let rows = picture.as_raw().chunks_exact(3 * picture.width() as usize);
    for (to, row) in values.chunks_exact_mut(3 * width).zip(rows) {
        to[..row.len()].copy_from_slice(row);
    }
    Tensor::from_vec(values, (1, height, width, 3), &Device::Cpu)?.permute((0, 3, 1, 2))
}

/// Adds what a level's heads see: class, box, object and points, `(1, 1 + 4 + 1 + 10, rows, columns)`.
fn decode(heads: &Tensor, stride: f32, threshold: f32, found: &mut Vec<Found>) -> Result<()> {
    let (_, _, rows, columns) = heads.dims4()?;
    let values = heads.flatten_all()?.to_vec1::<f32>()?;
    let area = rows * columns;
    // However sure it is of an object, a class below this leaves the score below the threshold.
    let least = threshold.min(0.999).powi(2);
    let least = (least / (1.0 - least)).ln() - 0.01;
    for place in 0..area {
        let at = |channel: usize| values[channel * area + place];
        if at(0) < least {
            continue;
        }
        let score = (sigmoid(at(0)) * sigmoid(at(5))).sqrt();
        if score < threshold {
            continue;
        }
        let (column, row) = ((place % columns) as f32, (place / columns) as f32);
        let point = |channel: usize| Point {
            x: (column + at(channel)) * stride,
            y: (row + at(channel + 1)) * stride,
        };
        let bounds = Rect::around(point(1), at(3).exp() * stride, at(4).exp() * stride);
        let landmarks = std::array::from_fn(|i| point(6 + 2 * i));
        found.push(Found { bounds, score, landmarks });
    }
    Ok(())
}
