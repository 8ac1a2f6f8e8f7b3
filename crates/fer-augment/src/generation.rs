//! Which Keras to equal, or none.

use serde::{Deserialize, Serialize};

/// Which Keras to equal where they differ, in the affine transform and in the brightness; or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// keras-preprocessing 1.1, of the notebook's time; `notebook` is read as this one's name, too. The affine
    /// transform turns about (height/2 + ½, width/2 + ½), one pixel off the centre. Brightness stretches the image
    /// to 0..=255, scales and truncates it there, and leaves it there.
    #[default]
    #[serde(alias = "notebook")]
    Keras2,
    /// Keras 3 (and 2 since TensorFlow 2.9). The affine transform turns about (height/2 − ½,
    /// width/2 − ½) and has its axes swapped: `tx`, drawn from the height's range, moves columns.
    /// Brightness truncates pixels within 0..=255 to whole numbers, whatever their scale: an image in
    /// 0..=1 becomes zeros and ones.
    Keras3,
    /// Neither. The affine transform turns about the centre, ((height − 1)/2, (width − 1)/2), and rows are rows:
    /// `tx` moves along them, as in [`Keras2`](Self::Keras2). Brightness multiplies the pixels of every channel and
    /// keeps them in 0..=1, without rounding to bytes.
    Plain,
}
