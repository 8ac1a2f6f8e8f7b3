//! The shape of images.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape of every image of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Shape {
    /// Grey squares.
    pub(crate) fn grey(side: usize) -> Self {
        Self { channels: 1, height: side, width: side }
    }

    /// The values of an image, a byte each.
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// `48×48 grey` or `64×48 colour`: width and height.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = if self.channels == 1 { "grey" } else { "colour" };
        write!(f, "{}×{} {colour}", self.width, self.height)
    }
}
