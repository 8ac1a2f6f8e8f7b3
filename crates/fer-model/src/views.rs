//! Several looks at one image, whose mean is the answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Input;

/// How a [`Classifier`](crate::Classifier) looks at an image: the mean of the log-probabilities of all views is its answer
/// (test-time augmentation). The default is one view, the image as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Views {
    /// Each view also mirrored left and right.
    pub mirror: bool,
    /// Four more views, shifted along the diagonals by so many pixels, edges replicated; 0 for none.
    pub shift: u32,
}

/// One view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    mirror: bool,
    down: isize,
    right: isize,
}

impl Views {
    /// The ten views of this project's results: the image and four shifts of 3 pixels, each mirrored too.
    pub const TEN: Self = Self { mirror: true, shift: 3 };

    /// The number of views.
    pub fn count(self) -> usize {
        (1 + usize::from(self.mirror)) * if self.shift > 0 { 5 } else { 1 }
    }

    pub(crate) fn is_one(self) -> bool {
        self.count() == 1
    }

    /// All views but the image as it is.
    pub(crate) fn others(self) -> impl Iterator<Item = View> {
        let by = self.shift as isize;
        let shifts = [(0, 0), (-by, -by), (-by, by), (by, -by), (by, by)];
        let shifts = shifts.into_iter().take(if by > 0 { 5 } else { 1 });
        let views = shifts.flat_map(move |(down, right)| {
            [false, true].into_iter().take(1 + usize::from(self.mirror)).map(move |mirror| View {
                mirror,
                down,
                right,
            })
        });
        views.skip(1)
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.shift, self.mirror) {
            (0, false) => f.write_str("as it is"),
            (0, true) => f.write_str("as it is, mirrored"),
            (shift, false) => write!(f, "as it is, shifted by {shift} pixels"),
            (shift, true) => write!(f, "as it is, shifted by {shift} pixels, each mirrored"),
        }
    }
}

impl View {
    /// The view of images that lie one after the other.
    pub(crate) fn of(self, pixels: &[u8], input: Input) -> Vec<u8> {
        let Input { height, width, .. } = input;
        let inside =
            |at: usize, by: isize, len: usize| (at as isize + by).clamp(0, len as isize - 1) as usize;
        let mut out = Vec::with_capacity(pixels.len());
        for plane in pixels.chunks_exact(height * width) {
            for row in 0..height {
                let row = &plane[inside(row, self.down, height) * width..][..width];
                let column = |c: usize| if self.mirror { width - 1 - c } else { c };
                out.extend((0..width).map(|c| row[inside(column(c), self.right, width)]));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_views_are_the_image_four_shifts_and_their_mirrors() {
        let input = Input { channels: 1, height: 2, width: 3 };
        let views: Vec<_> = Views { mirror: true, shift: 1 }.others().collect();
        assert_eq!((views.len(), Views::TEN.count(), Views::default().count()), (9, 10, 1));
        let image = [1, 2, 3, 4, 5, 6];
        assert_eq!(views[0].of(&image, input), [3, 2, 1, 6, 5, 4]);
        assert_eq!(views[1], View { mirror: false, down: -1, right: -1 });
        assert_eq!(views[1].of(&image, input), [1, 1, 2, 1, 1, 2]);
        assert_eq!(views[8].of(&[image, image].concat(), input), [6, 6, 5, 6, 6, 5, 6, 6, 5, 6, 6, 5]);
    }
}
