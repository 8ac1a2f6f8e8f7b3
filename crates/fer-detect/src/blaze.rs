//! BlazeFace, short range, which finds the eyes of a face that is known (Bazarevsky et al. 2019, MediaPipe).

use candle_core::{Device, Result, Tensor};
use fer_nn::{Activation, Graph, MaxPool2d, Mode, PadChannels};
use image::RgbImage;

use crate::geometry::{Point, Rect};
use crate::picture::{resized, square};
use crate::suppress::groups;
use crate::weights::{Conv, Weights, sigmoid};

#[cfg(test)]
mod golden;

/// Rows and columns of the network's input.
const SIDE: u32 = 128;

/// The square that is looked at, in longer sides of the face.
const AROUND: f32 = 2.5;

/// What it is less sure of than this is no face.
const THRESHOLD: f32 = 0.5;

/// Boxes that overlap by more than this are of one face, and averaged.
const OVERLAP: f32 = 0.3;

/// The channels after each block, and whether it halves height and width.
const BLOCKS: [(usize, bool); 16] = [
    (24, false),
    (28, false),
    (32, true),
    (36, false),
    (42, false),
    (48, true),
    (56, false),
    (64, false),
    (72, false),
    (80, false),
    (88, false),
    (96, true),
    (96, false),
    (96, false),
    (96, false),
    (96, false),
];

/// The block whose output the finer of the two levels reads.
const FINER: usize = 10;

/// Rows and columns of places at the two levels.
const LEVELS: [usize; 2] = [16, 8];

#[derive(Clone, Debug)]
pub(crate) struct BlazeFace(Graph);

impl BlazeFace {
    pub fn new() -> Result<Self> {
        let mut weights = Weights::read(include_bytes!("../weights/blazeface_short.safetensors"))?;
        let mut graph = Graph::new();
        let relu = Activation::Relu;
        let images = graph.images();
        let stem = Conv { stride: 2, activation: relu, ..Conv::default() };
        let mut x = weights.conv2d(&mut graph, images, "stem", stem)?;
        let mut channels = 24;
        let mut finer = x;
        for (i, &(out_channels, halves)) in BLOCKS.iter().enumerate() {
            let name = format!("block.{i}");
            let depthwise = Conv { depthwise: true, stride: if halves { 2 } else { 1 }, ..Conv::default() };
            let y = weights.conv2d(&mut graph, x, &format!("{name}.depthwise"), depthwise)?;
            let y = weights.conv2d(&mut graph, y, &format!("{name}.pointwise"), Conv::default())?;
            let mut skip = if halves { graph.add(x, MaxPool2d::new(2, 2)?) } else { x };
            if out_channels > channels {
                skip = graph.add(skip, PadChannels::to(out_channels));
            }
            let sum = graph.sum(y, skip);
            x = graph.add(sum, relu);
            if i == FINER {
                finer = x;
            }
            channels = out_channels;
        }
        let mut outputs = Vec::new();
        for (level, x) in [(0, finer), (1, x)] {
            for head in ["class", "box"] {
                let name = format!("head.{level}.{head}");
                outputs.push(weights.conv2d(&mut graph, x, &name, Conv::default())?);
            }
        }
        graph.outputs(outputs);
        Ok(Self(graph))
    }

    /// The eyes of the face in `bounds`: first the one to the left in an upright face.
    pub fn eyes(&self, picture: &RgbImage, bounds: Rect) -> Result<Option<[Point; 2]>> {
        let side = (AROUND * bounds.width.max(bounds.height)).round().max(1.0);
        let center = bounds.center();
        let (left, top) = ((center.x - side / 2.0).round(), (center.y - side / 2.0).round());
        let part = square(picture, left as i64, top as i64, side as u32);
        let part = resized(&part, SIDE, SIDE)?;
        // From shares of the square to the picture.
        let place = |p: Point| Point { x: left + p.x * side, y: top + p.y * side };
        let mut best: Option<(f32, [Point; 2])> = None;
        for (found, eyes) in self.find(&part)? {
            let Point { x, y } = place(Point { x: found.x, y: found.y });
            let found = Rect { x, y, width: found.width * side, height: found.height * side };
            let overlap = found.iou(bounds);
            if overlap > best.map_or(0.0, |(overlap, _)| overlap) {
                best = Some((overlap, eyes.map(place)));
            }
        }
        Ok(best.map(|(_, eyes)| eyes))
    }

    /// The faces of a picture of the network's size with their eyes, in shares of its side.
    fn find(&self, picture: &RgbImage) -> Result<Vec<(Rect, [Point; 2])>> {
        let outputs = self.0.forward_all(&input(picture)?, Mode::Eval)?;
        let (mut boxes, mut scores, mut eyes) = (Vec::new(), Vec::new(), Vec::new());
        for (rows, heads) in LEVELS.into_iter().zip(outputs.chunks(2)) {
            let classes = heads[0].flatten_all()?.to_vec1::<f32>()?;
            let values = heads[1].flatten_all()?.to_vec1::<f32>()?;
            let area = rows * rows;
            for (i, &class) in classes.iter().enumerate() {
                let score = sigmoid(class);
                if score <= THRESHOLD {
                    continue;
                }
                let (anchor, place) = (i / area, i % area);
                let middle = |i: usize| (i as f32 + 0.5) / rows as f32;
                let value = |k: usize| values[(anchor * 16 + k) * area + place] / SIDE as f32;
                let point = |k: usize| Point {
                    x: value(k) + middle(place % rows),
                    y: value(k + 1) + middle(place / rows),
                };
                boxes.push(Rect::around(point(0), value(2), value(3)));
                scores.push(score);
                eyes.push([point(4), point(6)]);
            }
        }
        let averaged = |group: Vec<usize>| {
            let total: f32 = group.iter().map(|&i| scores[i]).sum();
            let mean =
                |of: &dyn Fn(usize) -> f32| group.iter().map(|&i| scores[i] * of(i)).sum::<f32>() / total;
            let bounds = Rect {
                x: mean(&|i| boxes[i].x),
                y: mean(&|i| boxes[i].y),
                width: mean(&|i| boxes[i].width),
                height: mean(&|i| boxes[i].height),
            };
            let point = |k: usize| Point { x: mean(&|i| eyes[i][k].x), y: mean(&|i| eyes[i][k].y) };
            (bounds, [point(0), point(1)])
        };
        Ok(groups(&boxes, &scores, OVERLAP).into_iter().map(averaged).collect())
    }
}

/// Red, green and blue, −1 to 1.
fn input(picture: &RgbImage) -> Result<Tensor> {
    let values: Vec<f32> = picture.as_raw().iter().map(|&value| f32::from(value) / 127.5 - 1.0).collect();
    Tensor::from_vec(values, (1, SIDE as usize, SIDE as usize, 3), &Device::Cpu)?.permute((0, 3, 1, 2))
}
