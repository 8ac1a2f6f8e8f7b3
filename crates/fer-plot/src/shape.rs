//! What a figure is made of.

use ndarray::Array3;
use tiny_skia::{Path, PathBuilder, Rect, Transform};

/// Red, green and blue, 0 to 255 each. Figures are opaque.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Color(pub u8, pub u8, pub u8);

/// A part of a figure. Coordinates and sizes are in pixels of the figure, y down.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// The inside of a path, by the non-zero rule; the label is the text that the path spells.
    Fill { path: Path, color: Color, label: Option<String> },
    /// A line along a path, with round ends and joins.
    Stroke { path: Path, color: Color, width: f32 },
    /// An image, (channel, row, column) of one channel or three, over a rectangle.
    Image { pixels: Array3<u8>, frame: Rect },
}

impl Shape {
    /// The same, so far to the right and down; none where that is beyond what a float holds.
    pub(crate) fn moved(&self, x: f32, y: f32) -> Option<Self> {
        let moved = |path: &Path| path.clone().transform(Transform::from_translate(x, y));
        Some(match self {
            Self::Fill { path, color, label } => {
                Self::Fill { path: moved(path)?, color: *color, label: label.clone() }
            }
            Self::Stroke { path, color, width } => {
                Self::Stroke { path: moved(path)?, color: *color, width: *width }
            }
            Self::Image { pixels, frame } => {
                let frame = Rect::from_xywh(frame.x() + x, frame.y() + y, frame.width(), frame.height())?;
                Self::Image { pixels: pixels.clone(), frame }
            }
        })
    }
}

/// Which point of a text's width is where it is put.
#[derive(Clone, Copy)]
pub(crate) enum Horizontal {
    Left,
    Center,
    Right,
}

/// Which point of a text's height is where it is put.
#[derive(Clone, Copy)]
pub(crate) enum Vertical {
    Top,
    Center,
    Bottom,
}

/// How a line of text looks, and which of its points is where it is put.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub size: f32,
    pub color: Color,
    pub horizontal: Horizontal,
    pub vertical: Vertical,
    /// Degrees, clockwise.
    pub angle: f32,
}

/// The path through the points; closed when the first is also the last.
pub(crate) fn polygon(points: impl IntoIterator<Item = (f32, f32)>) -> Option<Path> {
    let mut path = PathBuilder::new();
    let mut points = points.into_iter();
    let first = points.next()?;
    path.move_to(first.0, first.1);
    let mut last = None;
    for point in points {
        path.line_to(point.0, point.1);
        last = Some(point);
    }
    if last == Some(first) {
        path.close();
    }
    path.finish()
}
