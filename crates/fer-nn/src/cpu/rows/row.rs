//! Rows of images, and those of them that are kept.

use crate::cpu::groups::{GROUP, Lanes};

/// The tallest kernel.
pub(super) const TALLEST: usize = 7;

/// How the values of a row lie: `(groups, before + width + after, pitch)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub groups: usize,
    /// Values of a group that lie together: 16, or all channels of an image that has few.
    pub pitch: usize,
    /// Columns of zeros before those of the image.
    pub before: usize,
    pub width: usize,
    /// Columns of zeros after them.
    pub after: usize,
}

impl Row {
    pub fn group_len(&self) -> usize {
        (self.before + self.width + self.after) * self.pitch
    }

    pub fn len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// Zeros around the columns of the image in some rows.
    pub fn clear_around(&self, rows: &mut [f32]) {
        for group in rows.chunks_exact_mut(self.group_len()) {
            group[..self.before * self.pitch].fill(0.0);
            group[(self.before + self.width) * self.pitch..].fill(0.0);
        }
    }

    /// The columns of the image in one group of a row.
    pub fn columns<'a>(&self, row: &'a [f32], group: usize) -> &'a [f32] {
        &row[group * self.group_len() + self.before * self.pitch..][..self.width * self.pitch]
    }

    pub fn columns_mut<'a>(&self, row: &'a mut [f32], group: usize) -> &'a mut [f32] {
        &mut row[group * self.group_len() + self.before * self.pitch..][..self.width * self.pitch]
    }

    /// The same of a row whose groups are whole.
    pub fn lanes<'a>(&self, row: &'a [f32], group: usize) -> &'a [Lanes] {
        self.columns(row, group).as_chunks::<GROUP>().0
    }

    pub fn lanes_mut<'a>(&self, row: &'a mut [f32], group: usize) -> &'a mut [Lanes] {
        self.columns_mut(row, group).as_chunks_mut::<GROUP>().0
    }
}

/// Columns in blocks of nearly the same size, at most so many in one: the first column, the size and the number of the larger
/// blocks, then of those that are one column smaller.
pub(super) fn blocks(width: usize, most: usize) -> [(usize, usize, usize); 2] {
    let count = width.div_ceil(most).max(1);
    let (least, larger) = (width / count, width % count);
    [(0, least + 1, larger), (larger * (least + 1), least, count - larger)]
}

/// Rows of one image: all, or the latest `capacity` that were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub rows: &'a [f32],
    pub capacity: usize,
    pub row: Row,
}

impl<'a> Kept<'a> {
    pub fn at(&self, y: usize) -> &'a [f32] {
        &self.rows[y % self.capacity * self.row.len()..][..self.row.len()]
    }
}

/// A kernel's height, and how it moves over the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub kernel: usize,
    pub stride: usize,
    /// Rows of zeros above the image.
    pub before: usize,
    /// Rows of the output that are made of the same rows.
    pub repeat: usize,
}

impl Window {
    /// One row from one row.
    pub const ROW: Self = Self { kernel: 1, stride: 1, before: 0, repeat: 1 };

    /// The row of the image, with the zeros above it, on which the kernel begins.
    fn start(&self, y: usize) -> usize {
        y / self.repeat * self.stride
    }

    /// The rows of an image of this height that lie under the kernel for row `y`.
    pub fn under(&self, y: usize, height: usize) -> std::ops::Range<usize> {
        let start = self.start(y);
        let inside = |y: usize| y.saturating_sub(self.before).min(height);
        inside(start)..inside(start + self.kernel)
    }
}

/// The rows under a kernel that lie inside the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Under<'a> {
    /// The kernel's row that lies on the first of them.
    pub first: usize,
    rows: [&'a [f32]; TALLEST],
    count: usize,
    pub row: Row,
}

impl<'a> Under<'a> {
    pub fn new(kept: Kept<'a>, window: Window, y: usize, height: usize) -> Self {
        let under = window.under(y, height);
        let first = match under.is_empty() {
            true => 0,
            false => under.start + window.before - window.start(y),
        };
        let mut rows: [&[f32]; TALLEST] = [&[]; TALLEST];
        let count = under.len();
        rows.iter_mut().zip(under).for_each(|(row, y)| *row = kept.at(y));
        Self { first, rows, count, row: kept.row }
    }

    pub fn rows(&self) -> &[&'a [f32]] {
        &self.rows[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_column_once() {
        for width in 1..50 {
            let mut next = 0;
            for (first, columns, count) in blocks(width, 12) {
                assert!(count == 0 || first == next && (1..=12).contains(&columns), "{width}");
                next += columns * count;
            }
            assert_eq!(next, width);
        }
    }

    #[test]
    fn a_kernel_lies_on_the_rows_inside() {
        let window = Window { kernel: 3, stride: 2, before: 1, repeat: 1 };
        assert_eq!([0, 1, 2].map(|y| window.under(y, 4)), [0..2, 1..4, 3..4]);
        let rows: Vec<f32> = (0..4).map(|y| y as f32).collect();
        let row = Row { groups: 1, pitch: 1, before: 0, width: 1, after: 0 };
        let kept = Kept { rows: &rows, capacity: 4, row };
        let under = |y| Under::new(kept, window, y, 4);
        assert_eq!((under(0).first, under(0).rows()), (1, &[&[0.0][..], &[1.0]][..]));
        assert_eq!((under(2).first, under(2).rows()), (0, &[&[3.0][..]][..]));
        let far = Window { kernel: 2, stride: 1, before: 3, repeat: 1 };
        assert_eq!((Under::new(kept, far, 0, 4).first, Under::new(kept, far, 0, 4).rows().len()), (0, 0));
        let below = Window { kernel: 2, stride: 3, before: 0, repeat: 1 };
        assert_eq!((Under::new(kept, below, 2, 4).first, Under::new(kept, below, 2, 4).rows().len()), (0, 0));
    }
}
