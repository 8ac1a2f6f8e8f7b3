//! The order of a tensor's values in Keras: `(height, width, inputs, outputs)`, where this crate has
//! `(outputs, inputs, height, width)`.
//!
//! A dense layer is a convolution over its whole input. The first one covers the last pooling's height and
//! width, since Keras flattens `(height, width, channels)`; the output layer covers a single pixel.

use candle_core::{Device, Result, Tensor};

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

/// The tensor of this layer and shape whose values Keras holds as `values`.
pub(super) fn from_keras(
    values: Vec<f32>,
    dcnn: &DcnnConfig,
    layer: &str,
    shape: &[usize],
) -> Result<Tensor> {
    match kernel(dcnn, layer, shape) {
        Some([outputs, inputs, height, width]) => {
            let tensor = Tensor::from_vec(values, (height, width, inputs, outputs), &Device::Cpu)?;
            tensor.permute((3, 2, 0, 1))?.reshape(shape)
        }
        None => Tensor::from_vec(values, shape, &Device::Cpu),
    }
}

/// The values of a tensor of this layer as Keras holds them.
pub(super) fn to_keras(tensor: &Tensor, dcnn: &DcnnConfig, layer: &str) -> Result<Vec<f32>> {
    match kernel(dcnn, layer, tensor.dims()) {
        Some(dims) => tensor.reshape(&dims[..])?.permute((2, 3, 1, 0))?.flatten_all()?.to_vec1(),
        None => tensor.to_vec1(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlockConfig;

    #[test]
    fn the_flattened_axis_goes_from_rows_columns_channels_to_channels_rows_columns() {
        let block = BlockConfig { filters: 5, kernel: 3, dropout: 0.0 };
        let dcnn =
            DcnnConfig { height: 7, width: 4, dense_units: 2, blocks: vec![block], ..Default::default() };
        let (h, w, c) = (3, 2, 5);
        let keras: Vec<f32> = (0..h * w * c * 2).map(|v| v as f32).collect();
        let tensor = from_keras(keras.clone(), &dcnn, "dense_1", &[2, c * h * w]).unwrap();
        let rows: Vec<Vec<f32>> = tensor.to_vec2().unwrap();
        for (unit, row) in rows.iter().enumerate() {
            for (k, &value) in row.iter().enumerate() {
                let (channel, y, x) = (k / (h * w), k / w % h, k % w);
                assert_eq!(value, (((y * w + x) * c + channel) * 2 + unit) as f32);
            }
        }
        assert_eq!(to_keras(&tensor, &dcnn, "dense_1").unwrap(), keras);
    }
}
