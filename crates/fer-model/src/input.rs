//! What a network sees.

use serde::{Deserialize, Serialize};

/// The size of the images that a network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Channels: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Input {
    /// Grey squares.
    pub fn grey(side: usize) -> Self {
        Self { channels: 1, height: side, width: side }
    }
}
