//! Points and rectangles of a picture, in pixels: (0, 0) is the upper left corner of its first pixel, x runs to the right and
//! y down.

/// A place in a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

/// An upright rectangle in a picture, in pixels; it may reach over the picture's edge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// The left edge.
    pub x: f32,
    /// The upper edge.
    pub y: f32,
    /// At least 0.
    pub width: f32,
    /// At least 0.
    pub height: f32,
}

impl Rect {
    /// The rectangle of this size around a point.
    pub fn around(center: Point, width: f32, height: f32) -> Self {
        Self { x: center.x - width / 2.0, y: center.y - height / 2.0, width, height }
    }

    /// The middle.
    pub fn center(self) -> Point {
        Point { x: self.x + self.width / 2.0, y: self.y + self.height / 2.0 }
    }

    /// The area that two rectangles share by that which they cover together, 0 to 1: intersection over union.
    pub fn iou(self, other: Self) -> f32 {
        let shared =
            |a: f32, a_len: f32, b: f32, b_len: f32| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let both = shared(self.x, self.width, other.x, other.width)
            * shared(self.y, self.height, other.y, other.height);
        let union = self.width * self.height + other.width * other.height - both;
        if union > 0.0 { both / union } else { 0.0 }
    }

    /// Stretched along both axes, with its place.
    pub(crate) fn scaled(self, by: Scale) -> Self {
        let Scale { x, y } = by;
        Self { x: self.x * x, y: self.y * y, width: self.width * x, height: self.height * y }
    }
}

impl Point {
    pub(crate) fn scaled(self, by: Scale) -> Self {
        Self { x: self.x * by.x, y: self.y * by.y }
    }

    /// The point between this and another.
    pub(crate) fn midway(self, other: Self) -> Self {
        Self { x: (self.x + other.x) / 2.0, y: (self.y + other.y) / 2.0 }
    }

    /// Turned about the origin, clockwise as a picture is seen.
    pub(crate) fn turned(self, degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { x: self.x * cos - self.y * sin, y: self.x * sin + self.y * cos }
    }
}

/// Factors along the axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub x: f32,
    pub y: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_shared_by_covered() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let a = rect(0.0, 0.0, 4.0, 2.0);
        assert_eq!(a.iou(a), 1.0);
        assert_eq!(a.iou(rect(2.0, 0.0, 4.0, 2.0)), 4.0 / 12.0);
        assert_eq!(a.iou(rect(5.0, 0.0, 1.0, 1.0)), 0.0);
        assert_eq!(rect(0.0, 0.0, 0.0, 0.0).iou(rect(0.0, 0.0, 0.0, 0.0)), 0.0);
    }

    #[test]
    fn a_quarter_turn_clockwise_brings_right_to_down() {
        let turned = Point { x: 1.0, y: 0.0 }.turned(90.0);
        assert!(turned.x.abs() < 1e-6 && (turned.y - 1.0).abs() < 1e-6, "{turned:?}");
    }
}
