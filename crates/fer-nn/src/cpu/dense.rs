//! The products of a fully connected layer, split along the longer weight axis.

use rayon::prelude::*;

use super::elementwise::add_bias_and_activate;
use super::matmul::{Mat, matmul};
use crate::Activation;
use crate::geometry::DenseShape;

/// Output columns of one product.
const BLOCK: usize = 64;

/// `activation(x·weightᵀ + bias)`: `(batch, outputs)`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    s: DenseShape,
) -> Vec<f32> {
    // Computed as its transpose, (outputs, batch), so that blocks of outputs are whole rows.
    let none = vec![0.0; if bias.is_empty() { s.outputs } else { 0 }];
    let bias = if bias.is_empty() { &none[..] } else { bias };
    let mut transposed = vec![0.0; s.outputs * s.batch];
    let x = Mat::new(x, s.batch, s.inputs, s.inputs).t();
    transposed
        .par_chunks_mut(BLOCK * s.batch)
        .zip(weight.par_chunks(BLOCK * s.inputs))
        .zip(bias.par_chunks(BLOCK))
        .for_each(|((y, weight), bias)| {
            let weight = Mat::new(weight, bias.len(), s.inputs, s.inputs);
            matmul(y, s.batch, weight, x, false);
            for (row, &bias) in y.chunks_mut(s.batch).zip(bias) {
                add_bias_and_activate(row, bias, activation);
            }
        });
    transpose(&transposed, s.outputs, s.batch)
}

/// The gradient of the input, `(batch, inputs)`.
pub(crate) fn backward_input(weight: &[f32], dy: &[f32], s: DenseShape) -> Vec<f32> {
    let dy = Mat::new(dy, s.batch, s.outputs, s.outputs);
    let blocks: Vec<Vec<f32>> = (0..s.inputs.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let first = block * BLOCK;
            let width = BLOCK.min(s.inputs - first);
            let mut dx = vec![0.0; s.batch * width];
            matmul(&mut dx, width, dy, Mat::new(&weight[first..], s.outputs, width, s.inputs), false);
            dx
        })
        .collect();
    let mut dx = Vec::with_capacity(s.batch * s.inputs);
    for row in 0..s.batch {
        for block in &blocks {
            let width = block.len() / s.batch;
            dx.extend_from_slice(&block[row * width..][..width]);
        }
    }
    dx
}

/// The gradient of the weight, `(outputs, inputs)`.
pub(crate) fn backward_weight(x: &[f32], dy: &[f32], s: DenseShape) -> Vec<f32> {
    let mut dw = vec![0.0; s.outputs * s.inputs];
    let x = Mat::new(x, s.batch, s.inputs, s.inputs);
    dw.par_chunks_mut(BLOCK * s.inputs).enumerate().for_each(|(block, dw)| {
        let rows = dw.len() / s.inputs;
        let dy = Mat::new(&dy[block * BLOCK..], s.batch, rows, s.outputs).t();
        matmul(dw, s.inputs, dy, x, false);
    });
    dw
}

fn transpose(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| x[r * cols + c])).collect()
}
