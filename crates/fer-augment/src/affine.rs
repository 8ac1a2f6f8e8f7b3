//! The affine map of a transform, as each generation builds it.

use crate::{Generation, Transform};

/// Where in the input the pixels of the output are read: `matrix · (row, column) + offset`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    matrix: [[f64; 2]; 2],
    offset: [f64; 2],
}

impl Affine {
    /// The map of a transform of an image of this size, or none where it changes nothing.
    pub(crate) fn new(
        transform: &Transform,
        generation: Generation,
        height: usize,
        width: usize,
    ) -> Option<Self> {
        let &Transform { theta, tx, ty, shear, zx, zy, .. } = transform;
        if (theta, tx, ty, shear, zx, zy) == (0.0, 0.0, 0.0, 0.0, 1.0, 1.0) {
            return None;
        }
        let (theta, shear) = (theta.to_radians(), shear.to_radians());
        let (sin, cos) = theta.sin_cos();
        let (sheared_sin, sheared_cos) = (theta + shear).sin_cos();
        let matrix = [[cos * zx, -sheared_sin * zy], [sin * zx, sheared_cos * zy]];
        let shift = [cos * tx - sin * ty, sin * tx + cos * ty];
        let half = match generation {
            Generation::Keras2 => 0.5,
            Generation::Keras3 | Generation::Plain => -0.5,
        };
        let centre = [height as f64 / 2.0 + half, width as f64 / 2.0 + half];
        // The order of these sums decides whether a pixel at the very edge is inside: keep Keras'.
        let offset = [0, 1].map(|axis| {
            let [first, second] = matrix[axis];
            (-first * centre[0] - second * centre[1]) + (shift[axis] + centre[axis])
        });
        Some(match generation {
            Generation::Keras2 | Generation::Plain => Self { matrix, offset },
            // Keras 3 takes the same matrix to be about (column, row).
            Generation::Keras3 => {
                let [[a, b], [c, d]] = matrix;
                Self { matrix: [[d, c], [b, a]], offset: [offset[1], offset[0]] }
            }
        })
    }

    /// The matrix, row by row, and the offset.
    pub(crate) fn parts(&self) -> ([f64; 4], [f64; 2]) {
        let [[a, b], [c, d]] = self.matrix;
        ([a, b, c, d], self.offset)
    }

    /// The place in the input of one pixel of the output, in the order of scipy's sums.
    pub(crate) fn at(&self, row: usize, column: usize) -> [f64; 2] {
        [0, 1].map(|axis| {
            let [by_row, by_column] = self.matrix[axis];
            (self.offset[axis] + row as f64 * by_row) + column as f64 * by_column
        })
    }

    /// How far the place in the input moves, along each axis, from a row to the next and from a column to the next.
    pub(crate) fn steps(&self) -> [[f64; 2]; 2] {
        let [[row_by_row, row_by_column], [column_by_row, column_by_column]] = self.matrix;
        [[row_by_row, column_by_row], [row_by_column, column_by_column]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_that_moves_nothing_has_no_map() {
        let flips = Transform { flip_horizontal: true, brightness: Some(2.0), ..Transform::default() };
        assert!(Affine::new(&flips, Generation::Keras2, 48, 48).is_none());
        let zoomed = Transform { zx: 1.1, ..Transform::default() };
        assert!(Affine::new(&zoomed, Generation::Keras2, 48, 48).is_some());
    }

    #[test]
    fn the_centre_stays_and_differs_by_generation() {
        let turned = Transform { theta: 30.0, zx: 1.2, zy: 0.8, ..Transform::default() };
        for (generation, centre) in [(Generation::Keras2, 4), (Generation::Keras3, 3), (Generation::Plain, 3)]
        {
            let [row, column] = Affine::new(&turned, generation, 7, 7).unwrap().at(centre, centre);
            assert!((row - centre as f64).abs() < 1e-12 && (column - centre as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn a_height_shift_moves_rows_but_columns_in_keras_3() {
        let shifted = Transform { tx: 2.0, ..Transform::default() };
        let at = |generation| Affine::new(&shifted, generation, 9, 9).unwrap().at(0, 0);
        assert_eq!(at(Generation::Keras2), [2.0, 0.0]);
        assert_eq!(at(Generation::Plain), [2.0, 0.0]);
        assert_eq!(at(Generation::Keras3), [0.0, 2.0]);
    }
}
