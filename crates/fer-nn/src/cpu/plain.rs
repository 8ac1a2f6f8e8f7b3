//! A convolution by its definition, in f64, that the fast ones are checked against.

use fer_rand::{Purpose, Stream};

use crate::geometry::ConvShape;

/// Sums of four uniform numbers: near enough to normal ones, with deviation 0.58.
pub fn values(n: usize, seed: u64) -> Vec<f32> {
    let stream = Stream { seed, purpose: Purpose::named("plain"), epoch: 0, item: 0 };
    (0..n as u32)
        .map(|i| stream.block(i).iter().map(|&word| word as f32 / u32::MAX as f32 - 0.5).sum())
        .collect()
}

/// Calls `each(output index, input index, weight index)` for every product of a convolution.
pub fn products(s: &ConvShape, mut each: impl FnMut(usize, usize, usize)) {
    for n in 0..s.batch {
        for k in 0..s.out_channels {
            for c in 0..s.in_channels / s.groups {
                for y in 0..s.out_height {
                    for x in 0..s.out_width {
                        for i in 0..s.kernel.0 {
                            for j in 0..s.kernel.1 {
                                let (row, column) = (y * s.stride + i, x * s.stride + j);
                                if row < s.padding.0
                                    || column < s.padding.1
                                    || row - s.padding.0 >= s.height
                                    || column - s.padding.1 >= s.width
                                {
                                    continue;
                                }
                                let channel =
                                    k / (s.out_channels / s.groups) * (s.in_channels / s.groups) + c;
                                let row = (n * s.in_channels + channel) * s.height + row - s.padding.0;
                                each(
                                    ((n * s.out_channels + k) * s.out_height + y) * s.out_width + x,
                                    row * s.width + column - s.padding.1,
                                    ((k * (s.in_channels / s.groups) + c) * s.kernel.0 + i) * s.kernel.1 + j,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A tensor of plain sums, with the squares of the summands: `‖summands‖` is the norm it has when their signs
/// are independent, and keeps its size where a few outputs happen to cancel.
pub struct Plain {
    pub sums: Vec<f64>,
    squares: f64,
}

impl Plain {
    pub fn new(sums: Vec<f64>) -> Self {
        Self { squares: sums.iter().map(|v| v * v).sum(), sums }
    }

    pub fn add(&mut self, at: usize, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.sums[at] += product;
        self.squares += product * product;
    }

    /// ‖got − sums‖ / ‖sums‖
    pub fn relative_error(&self, got: &[f32]) -> f64 {
        assert_eq!(got.len(), self.sums.len());
        let error: f64 = got.iter().zip(&self.sums).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum();
        let norm = self.sums.iter().map(|w| w * w).sum::<f64>().max(self.squares);
        if norm == 0.0 { error } else { (error / norm).sqrt() }
    }
}
