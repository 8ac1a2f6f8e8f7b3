//! The order of a tensor's values in Keras: `(height, width, inputs, outputs)`, where this crate has
//! `(outputs, inputs, height, width)`.
//!
//! A dense layer is a convolution over its whole input. The first one covers the last pooling's height and
//! width, since Keras flattens `(height, width, channels)`; the output layer covers a single pixel.

use candle_core::{Result, Tensor};

use crate::DcnnConfig;

/// The shape in Keras of what has this shape here.
pub(super) fn keras_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [outputs, inputs, height, width] => vec![height, width, inputs, outputs],
        [outputs, inputs] => vec![inputs, outputs],
        _ => shape.to_vec(),
    }
}

/// The kernel `(outputs, inputs, height, width)` that a tensor of this layer is; `None` for a vector.
fn kernel(dcnn: &DcnnConfig, layer: &str, shape: &[usize]) -> Option<[usize; 4]> {
    match *shape {
        [outputs, inputs, height, width] => Some([outputs, inputs, height, width]),
        [outputs, inputs] if layer == "out_layer" => Some([outputs, inputs, 1, 1]),
        [outputs, _] => {
            let (channels, height, width) = dcnn.features();
            Some([outputs, channels, height, width])
        }
        _ => None,
    }
}

/// The values of a tensor of this layer as Keras holds them.
pub(super) fn to_keras(tensor: &Tensor, dcnn: &DcnnConfig, layer: &str) -> Result<Vec<f32>> {
    match kernel(dcnn, layer, tensor.dims()) {
        Some(dims) => tensor.reshape(&dims[..])?.permute((2, 3, 1, 0))?.flatten_all()?.to_vec1(),
        None => tensor.to_vec1(),
    }
}
