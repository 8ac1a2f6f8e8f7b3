//! Random erasing: a rectangle of the image set to one value.

use fer_rand::next_double;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{Result, draw::uniform, error::check};

/// Random erasing: in a part of the images, one rectangle is set to one value.
///
/// The rectangle may reach over the border; what is over it is lost.
///
/// Source: Zhong et al. 2020, "Random Erasing Data Augmentation", but for the rectangle's place.
///
/// ```
/// use fer_augment::{Augment, AugmentConfig, EraseConfig, Rectangle, Transform};
/// use ndarray::Array3;
///
/// let erase = EraseConfig { probability: 1.0, value: 0.0, ..EraseConfig::default() };
/// let augment = Augment::new(AugmentConfig { erase: Some(erase), ..AugmentConfig::identity() })?;
///
/// let erased = Some(Rectangle { top: 1, left: 0, bottom: 2, right: 2 });
/// let mut image = Array3::ones((1, 3, 3));
/// augment.apply(&Transform { erased, ..Transform::default() }, image.view_mut())?;
/// assert_eq!(image.into_raw_vec_and_offset().0, [1., 1., 1., 0., 0., 1., 1., 1., 1.]);
/// # Ok::<(), fer_augment::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EraseConfig {
    /// The part of the images that are erased in.
    pub probability: f64,
    /// The smallest and the largest area of the rectangle, as a part of the image's.
    pub area: (f64, f64),
    /// The logarithm of the height over the width, both as parts of the image's, is at most this far from 0.
    pub aspect: f64,
    /// The value in the rectangle, in units of the pixels. The default is the mean pixel of FER2013's training
    /// faces, which standardising turns into 0.
    pub value: f32,
}

impl Default for EraseConfig {
    fn default() -> Self {
        Self { probability: 0.5, area: (0.02, 0.2), aspect: 1.2, value: 0.5077 }
    }
}

impl EraseConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let valid = (0.0..=1.0).contains(&self.probability);
        check(valid, "erase.probability", self.probability, "a number from 0 to 1")?;
        let (low, high) = self.area;
        let valid = low >= 0.0 && low <= high && high <= 1.0;
        check(valid, "erase.area", self.area, "two numbers from 0 to 1, the smaller first")?;
        let valid = self.aspect.is_finite() && self.aspect >= 0.0;
        check(valid, "erase.aspect", self.aspect, "a finite number, 0 or more")?;
        check(self.value.is_finite(), "erase.value", self.value, "a finite number")
    }

    /// Draws whether to erase and, if so, area, side ratio and centre, in this order.
    pub(crate) fn draw(&self, rng: &mut impl Rng, height: usize, width: usize) -> Option<Rectangle> {
        if next_double(rng) >= self.probability {
            return None;
        }
        let area = uniform(rng, self.area);
        let ratio = uniform(rng, (-self.aspect, self.aspect)).exp();
        let centre = [height, width].map(|side| next_double(rng) * side as f64);
        let [rows, columns] = [(area * ratio).sqrt() * height as f64, (area / ratio).sqrt() * width as f64];
        let (top, bottom) = within(centre[0], rows, height);
        let (left, right) = within(centre[1], columns, width);
        Some(Rectangle { top, left, bottom, right })
    }
}

/// The whole numbers in 0..`side` that are nearer to `centre` than half of `len`: the first, and the one after the last.
fn within(centre: f64, len: f64, side: usize) -> (u32, u32) {
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    let first = ((centre - len / 2.0).floor() + 1.0) as u32;
    let end = (centre + len / 2.0).ceil() as u32;
    let first = first.min(side);
    (first, end.clamp(first, side))
}

/// Pixels in the rows `top..bottom` and the columns `left..right`; none where one of the two is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rectangle {
    /// The first row.
    pub top: u32,
    /// The first column.
    pub left: u32,
    /// The row after the last.
    pub bottom: u32,
    /// The column after the last.
    pub right: u32,
}

impl Rectangle {
    /// Sets the pixels of the rectangle that are in this (height, `width`) plane.
    pub(crate) fn fill(&self, plane: &mut [f32], width: usize, value: f32) {
        let Self { top, left, bottom, right } = *self;
        let [top, left, bottom, right] = [top, left, bottom, right].map(|edge| edge as usize);
        let rows = plane.chunks_exact_mut(width).take(bottom).skip(top);
        rows.for_each(|row| {
            if let Some(columns) = row.get_mut(left..right.min(width)) {
                columns.fill(value);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fer_rand::RandomState;

    #[test]
    fn a_rectangle_has_the_pixels_nearer_to_its_centre_than_half_its_sides() {
        let erase = EraseConfig { probability: 1.0, ..EraseConfig::default() };
        let (height, width) = (48, 31);
        let mut rng = RandomState::new(5);
        let mut again = RandomState::new(5);
        for _ in 0..2000 {
            let drawn = erase.draw(&mut rng, height, width).unwrap();
            let mut next = || next_double(&mut again);
            let (_, area, ratio) = (next(), 0.02 + 0.18 * next(), (-1.2 + 2.4 * next()).exp());
            let (cy, cx) = (next() * height as f64, next() * width as f64);
            let (h, w) = ((area * ratio).sqrt() * height as f64, (area / ratio).sqrt() * width as f64);
            let mut found = vec![0.0; height * width];
            drawn.fill(&mut found, width, 1.0);
            for (i, &found) in found.iter().enumerate() {
                let (r, c) = ((i / width) as f64, (i % width) as f64);
                let is_erased = (r - cy).abs() * 2.0 < h && (c - cx).abs() * 2.0 < w;
                assert_eq!(found == 1.0, is_erased, "{drawn:?} ({r}, {c})");
            }
        }
    }

    #[test]
    fn half_of_the_images_are_erased_and_the_areas_are_those_asked_for() {
        let mut rng = RandomState::new(1);
        let drawn: Vec<_> =
            (0..4000).filter_map(|_| EraseConfig::default().draw(&mut rng, 480, 480)).collect();
        assert!(drawn.len().abs_diff(2000) < 130, "{}", drawn.len());
        let inside = drawn.iter().filter(|r| r.top > 0 && r.left > 0 && r.bottom < 480 && r.right < 480);
        let areas: Vec<f64> =
            inside.map(|r| f64::from((r.bottom - r.top) * (r.right - r.left)) / 480.0 / 480.0).collect();
        assert!(areas.len() > 500 && areas.iter().all(|area| (0.019..0.202).contains(area)));
    }

    #[test]
    fn rectangles_over_the_border_and_empty_ones_do_not_panic() {
        let mut plane = [0.0; 12];
        for edges in [[0, 0, 0, 0], [2, 3, 1, 1], [9, 9, 20, 20], [1, 9, 20, 20], [0, 3, 2, 1]] {
            let [top, left, bottom, right] = edges;
            Rectangle { top, left, bottom, right }.fill(&mut plane, 4, 1.0);
        }
        assert_eq!(plane, [0.0; 12]);
        Rectangle { top: 1, left: 3, bottom: 9, right: u32::MAX }.fill(&mut plane, 4, 1.0);
        assert_eq!(plane, [0., 0., 0., 0., 0., 0., 0., 1., 0., 0., 0., 1.]);
        let none = EraseConfig { probability: 1.0, area: (0.0, 0.0), aspect: 0.0, value: 0.0 };
        let drawn = none.draw(&mut RandomState::new(4), 48, 48).unwrap();
        assert!(drawn.top == drawn.bottom || drawn.left == drawn.right);
        assert!(none.draw(&mut RandomState::new(4), 0, 0).is_some());
    }
}
