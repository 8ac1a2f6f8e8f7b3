//! CenterFace, which finds faces: 1.8 million parameters (Xu, Yan, Yang and Sun 2019, "CenterFace: Joint Face Detection and
//! Alignment Using Face as Point"), on MobileNetV2 (Sandler et al. 2018).

use candle_core::{Device, Result, Tensor};
use fer_nn::{Activation, ConvTranspose2d, ConvTranspose2dConfig, Graph, Mode, Padding, Value};
use image::RgbImage;

use crate::geometry::{Point, Rect, Scale};
use crate::picture::bilinear;
use crate::weights::{Conv, Weights};
use crate::yunet::{Found, once};

/// Boxes of one face overlap by more than this.
pub(crate) const OVERLAP: f32 = 0.3;

/// Pixels from one place to the next at which faces are looked for.
const STRIDE: f32 = 4.0;

/// The picture's sides are stretched to multiples of this.
const COARSEST: u32 = 32;

/// MobileNetV2's stages: how many blocks, and the stride of the first.
const STAGES: [(usize, usize); 7] = [(1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)];

/// The stages whose outputs the neck reads, at strides 4 to 32.
const LEVELS: [usize; 4] = [1, 2, 4, 6];

const RELU: Conv = Conv { depthwise: false, stride: 1, padding: Padding::Same, activation: Activation::Relu };

#[derive(Clone, Debug)]
pub(crate) struct CenterFace(Graph);

impl CenterFace {
    pub fn new() -> Result<Self> {
        let mut weights = Weights::read(include_bytes!("../weights/centerface.safetensors"))?;
        let mut graph = Graph::new();
        let levels = backbone(&mut weights, &mut graph)?;
        // From the coarsest level down, each with what the one above it saw.
        let mut above = None;
        for level in (0..levels.len()).rev() {
            let name = format!("neck.{level}");
            let lateral = weights.conv2d(&mut graph, levels[level], &format!("{name}.lateral"), RELU)?;
            above = Some(match above {
                Some(above) => {
                    let above = graph.add(above, twice(&mut weights, &format!("{name}.up"))?);
                    graph.sum(above, lateral)
                }
                None => lateral,
            });
        }
        let neck = above.unwrap_or(graph.images());
        let shared = weights.conv2d(&mut graph, neck, "head.shared", RELU)?;
        let mut outputs = Vec::new();
        for (head, activation) in [
            ("heat", Activation::Sigmoid),
            ("size", Activation::Linear),
            ("offset", Activation::Linear),
            ("points", Activation::Linear),
        ] {
            let how = Conv { activation, ..Conv::default() };
            outputs.push(weights.conv2d(&mut graph, shared, &format!("head.{head}"), how)?);
        }
        graph.outputs(outputs);
        Ok(Self(graph))
    }

    /// The faces of a picture that have at least this score, the surest first.
    pub fn find(&self, picture: &RgbImage, threshold: f32) -> Result<Vec<Found>> {
        let (width, height) = picture.dimensions();
        let [wide, high] = [width, height].map(|side| side.next_multiple_of(COARSEST));
        let scale = Scale { x: width as f32 / wide as f32, y: height as f32 / high as f32 };
        let outputs = self.0.forward_all(&input(picture, wide, high, scale)?, Mode::Eval)?;
        let mut values = Vec::with_capacity(outputs.len());
        for output in &outputs {
            values.push(output.flatten_all()?.to_vec1::<f32>()?);
        }
        let area = values[0].len();
        let columns = (wide as f32 / STRIDE) as usize;
        let mut found = Vec::new();
        for place in 0..area {
            let at = |head: usize, i: usize| values[head][i * area + place];
            let score = at(0, 0);
            if score < threshold {
                continue;
            }
            // Of every pair, first what is down, then what is to the right.
            let (column, row) = ((place % columns) as f32, (place / columns) as f32);
            let center = Point { x: (column + at(2, 1) + 0.5) * STRIDE, y: (row + at(2, 0) + 0.5) * STRIDE };
            let bounds = Rect::around(center, at(1, 1).exp() * STRIDE, at(1, 0).exp() * STRIDE);
            let landmarks = std::array::from_fn(|i| Point {
                x: bounds.x + bounds.width * at(3, 2 * i + 1),
                y: bounds.y + bounds.height * at(3, 2 * i),
            });
            let landmarks = landmarks.map(|point: Point| point.scaled(scale));
            found.push(Found { bounds: bounds.scaled(scale), score, landmarks });
        }
        Ok(once(&found, OVERLAP))
    }
}

/// MobileNetV2: the outputs of [`LEVELS`].
fn backbone(weights: &mut Weights, graph: &mut Graph) -> Result<Vec<Value>> {
    // Alike on all sides, also where a stride of 2 leaves the last of them unread: `Same` would leave the first out.
    let around = Conv { padding: Padding::all(1), ..RELU };
    let images = graph.images();
    let mut x = weights.conv2d(graph, images, "stem", Conv { stride: 2, ..around })?;
    let mut levels = Vec::new();
    for (stage, (blocks, stride)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let name = format!("stage.{stage}.{block}");
            let mut y = x;
            if stage > 0 {
                y = weights.conv2d(graph, y, &format!("{name}.expand"), RELU)?;
            }
            let stride = if block == 0 { stride } else { 1 };
            let depthwise = Conv { depthwise: true, stride, ..around };
            y = weights.conv2d(graph, y, &format!("{name}.depthwise"), depthwise)?;
            y = weights.conv2d(graph, y, &format!("{name}.project"), Conv::default())?;
            x = if block == 0 { y } else { graph.sum(y, x) };
        }
        if LEVELS.contains(&stage) {
            levels.push(x);
        }
    }
    Ok(levels)
}

/// Twice as many rows and columns, by a transposed convolution.
fn twice(weights: &mut Weights, name: &str) -> Result<ConvTranspose2d> {
    let config = ConvTranspose2dConfig { activation: Activation::Relu, ..Default::default() };
    let weight = weights.take(&format!("{name}.weight"))?;
    let bias = weights.take(&format!("{name}.bias"))?;
    Ok(ConvTranspose2d::new(weight, Some(bias), config)?.named(name))
}

/// Red, green and blue, 0 to 255, of the picture stretched to `wide`×`high` pixels: `(1, 3, high, wide)`.
fn input(picture: &RgbImage, wide: u32, high: u32, scale: Scale) -> Result<Tensor> {
    let area = wide as usize * high as usize;
    let mut values = vec![0.0; 3 * area];
    for place in 0..area {
        let (x, y) = (place % wide as usize, place / wide as usize);
        let at = Point { x: (x as f32 + 0.5) * scale.x, y: (y as f32 + 0.5) * scale.y };
        for (channel, value) in bilinear(picture, at).into_iter().enumerate() {
            values[channel * area + place] = value;
        }
    }
    Tensor::from_vec(values, (1, 3, high as usize, wide as usize), &Device::Cpu)
}
