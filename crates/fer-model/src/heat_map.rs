//! Numbers over an image.

use serde::Serialize;

/// A number for each cell of a grid that covers an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatMap {
    /// Cells from left to right.
    pub width: usize,
    /// Cells from top to bottom.
    pub height: usize,
    /// Row by row, `width · height` of them.
    pub values: Vec<f32>,
}

impl HeatMap {
    /// The map in cells of another number: between the middles of the cells in proportion, as PyTorch's bilinear `interpolate`
    /// without `align_corners`.
    ///
    /// ```
    /// let map = fer_model::HeatMap { width: 2, height: 1, values: vec![0.0, 1.0] };
    /// assert_eq!(map.resized(4, 1).values, [0.0, 0.25, 0.75, 1.0]);
    /// ```
    ///
    /// # Panics
    /// When the values are not `width · height`, or none.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        let (of_x, of_y) = (places(self.width, width), places(self.height, height));
        let row = |y: usize, (left, right, part): (usize, usize, f32)| {
            let row = &self.values[y * self.width..][..self.width];
            row[left] * (1.0 - part) + row[right] * part
        };
        let rows = of_y.iter().flat_map(|&(above, below, part)| {
            of_x.iter().map(move |&x| row(above, x) * (1.0 - part) + row(below, x) * part)
        });
        Self { width, height, values: rows.collect() }
    }
}

/// For each of `to` places the two of `from` cells that it lies between, and the part of the second.
fn places(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let place = |i: usize| {
        let place = (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let place = place.clamp(0.0, from.saturating_sub(1) as f32);
        let first = place as usize;
        (first, (first + 1).min(from.saturating_sub(1)), place - first as f32)
    };
    (0..to).map(place).collect()
}
