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
            for head in ["class", "box", "object", "points"] {
                outputs.push(block(&mut graph, x, &format!("head.{level}.{head}"), Activation::Linear)?);
            }
        }
        graph.outputs(outputs);
        Ok(Self(graph))
    }

    /// The faces of a picture that have at least this score, the surest first.
    pub fn find(&self, picture: &RgbImage, threshold: f32) -> Result<Vec<Found>> {
        let outputs = self.0.forward_all(&input(picture)?, Mode::Eval)?;
        let mut found = Vec::new();
        for (&stride, heads) in STRIDES.iter().zip(outputs.chunks(4)) {
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

/// Blue, green and red, 0 to 255, with zeros to the right and below up to multiples of the coarsest stride.
fn input(picture: &RgbImage) -> Result<Tensor> {
    let full = |side: u32| (side as usize).next_multiple_of(STRIDES[2]);
    let (width, height) = (full(picture.width()), full(picture.height()));
    let mut values = vec![0.0; 3 * width * height];
    let rows = picture.as_raw().chunks_exact(3 * picture.width() as usize);
    for (y, row) in rows.enumerate() {
        for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
            for (channel, &value) in pixel.iter().rev().enumerate() {
                values[(channel * height + y) * width + x] = f32::from(value);
            }
        }
    }
    Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu)
}

/// Adds what a level's heads see, `(1, 1 | 4 | 1 | 10, rows, columns)` each.
fn decode(heads: &[Tensor], stride: f32, threshold: f32, found: &mut Vec<Found>) -> Result<()> {
    let (_, _, rows, columns) = heads[0].dims4()?;
    let mut values = Vec::with_capacity(heads.len());
    for head in heads {
        values.push(head.flatten_all()?.to_vec1::<f32>()?);
    }
    let area = rows * columns;
    for place in 0..area {
        let score = (sigmoid(values[0][place]) * sigmoid(values[2][place])).sqrt();
        if score < threshold {
            continue;
        }
        let (column, row) = ((place % columns) as f32, (place / columns) as f32);
        let at = |head: usize, i: usize| values[head][i * area + place];
        let point = |head: usize, i: usize| Point {
            x: (column + at(head, i)) * stride,
            y: (row + at(head, i + 1)) * stride,
        };
        let bounds = Rect::around(point(1, 0), at(1, 2).exp() * stride, at(1, 3).exp() * stride);
        let landmarks = std::array::from_fn(|i| point(3, 2 * i));
        found.push(Found { bounds, score, landmarks });
    }
    Ok(())
}
