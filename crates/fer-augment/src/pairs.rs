//! An image laid out so that a pixel and the three that it is blended with lie side by side.

/// Rows and columns beside an image, that its mirror is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Margin {
    pub above: usize,
    pub below: usize,
    pub left: usize,
    pub right: usize,
}

/// The vertical neighbours of an image with a margin of its mirror, whose border pixels are repeated once all round.
/// A buffer to be filled again from image to image.
pub(crate) struct Pairs {
    /// Of the image without its margin.
    pub height: usize,
    pub width: usize,
    pub margin: Margin,
    /// (rows + 1, columns + 2), margin included: pair (row + 1, column + 1) is pixel (row, column) and the one below.
    pairs: Vec<[f32; 2]>,
}

/// Pixels that are moved at a time: loops of this length become vector instructions.
const CHUNK: usize = 16;

impl Pairs {
    pub const fn new() -> Self {
        Self {
            height: 0,
            width: 0,
            margin: Margin { above: 0, below: 0, left: 0, right: 0 },
            pairs: Vec::new(),
        }
    }

    /// Rows with the margin's.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.margin.above + self.height + self.margin.below
    }

    /// Columns with the margin's.
    #[inline(always)]
    pub fn columns(&self) -> usize {
        self.margin.left + self.width + self.margin.right
    }

    /// From one row's pairs to the next one's.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.columns() + 2
    }

    /// The pairs, row by row.
    #[inline(always)]
    pub fn as_slice(&self) -> &[[f32; 2]] {
        &self.pairs
    }

    /// A pixel of the image.
    #[inline(always)]
    pub fn pixel(&self, row: usize, column: usize) -> f32 {
        self.pairs[(self.margin.above + row + 1) * self.stride() + self.margin.left + column + 1][0]
    }

    /// Lays out an image of rows of `width` pixels; neither may be without any. A margin may be as wide as the image.
    #[inline(always)]
    pub fn load(&mut self, image: &[f32], width: usize, margin: Margin) {
        (self.height, self.width, self.margin) = (image.len() / width, width, margin);
        let (rows, stride, height) = (self.rows(), self.stride(), self.height);
        self.pairs.resize((rows + 1) * stride, [0.0; 2]);
        let line = |row: usize| &image[mirrored(row, margin.above, height) * width..][..width];
        for (index, pairs) in self.pairs.chunks_exact_mut(stride).enumerate() {
            let (above, below) = (line(index.saturating_sub(1)), line(index.min(rows - 1)));
            let (first, end) = (margin.left + 1, margin.left + 1 + width);
            interleave(above, below, &mut pairs[first..end]);
            for i in 0..margin.left {
                pairs[first - 1 - i] = pairs[first + i];
            }
            for i in 0..margin.right {
                pairs[end + i] = pairs[end - 1 - i];
            }
            pairs[0] = pairs[1];
            pairs[stride - 1] = pairs[stride - 2];
        }
    }
}

/// The row of an image of `height` rows that stands at this one of it and its margin.
#[inline(always)]
fn mirrored(row: usize, above: usize, height: usize) -> usize {
    if row < above {
        above - 1 - row
    } else if row < above + height {
        row - above
    } else {
        2 * height - 1 - (row - above)
    }
}

#[inline(always)]
fn interleave(above: &[f32], below: &[f32], pairs: &mut [[f32; 2]]) {
    let (pairs, last_pairs) = pairs.as_chunks_mut::<CHUNK>();
    let (above, last_above) = above.as_chunks::<CHUNK>();
    let (below, last_below) = below.as_chunks::<CHUNK>();
    for ((pairs, above), below) in pairs.iter_mut().zip(above).zip(below) {
        *pairs = std::array::from_fn(|i| [above[i], below[i]]);
    }
    for ((pair, &above), &below) in last_pairs.iter_mut().zip(last_above).zip(last_below) {
        *pair = [above, below];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index along a side with a margin before it, the border repeated and the margin mirrored.
    fn source(index: usize, before: usize, side: usize, after: usize) -> usize {
        let place = index.saturating_sub(1).min(before + side + after - 1) as isize - before as isize;
        let place = if place < 0 { -1 - place } else { place };
        place.min(2 * side as isize - 1 - place) as usize
    }

    #[test]
    fn a_pixel_lies_above_the_next_rows_and_the_border_is_repeated() {
        let margins = [
            Margin::default(),
            Margin { above: 1, below: 1, left: 1, right: 1 },
            Margin { above: 1, below: 0, left: 0, right: 2 },
            Margin { above: 2, below: 3, left: 2, right: 1 },
        ];
        for (height, width) in [(1, 1), (3, 2), (4, 16), (2, 35)] {
            let image: Vec<f32> = (0..height * width).map(|i| i as f32).collect();
            let mut pairs = Pairs::new();
            for Margin { above, below, left, right } in margins {
                let [above, below] = [above, below].map(|margin| margin.min(height));
                let [left, right] = [left, right].map(|margin| margin.min(width));
                pairs.load(&image, width, Margin { above, below, left, right });
                let pixel = |row: usize, column: usize| {
                    let column = source(column, left, width, right);
                    image[source(row, above, height, below) * width + column]
                };
                assert_eq!(pairs.as_slice().len(), (above + height + below + 1) * pairs.stride());
                for (i, &pair) in pairs.as_slice().iter().enumerate() {
                    let (row, column) = (i / pairs.stride(), i % pairs.stride());
                    assert_eq!(pair, [pixel(row, column), pixel(row + 1, column)], "{height}×{width}: {i}");
                }
                assert_eq!(pairs.pixel(height - 1, width - 1), (height * width - 1) as f32);
            }
        }
    }
}
