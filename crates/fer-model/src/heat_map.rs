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
