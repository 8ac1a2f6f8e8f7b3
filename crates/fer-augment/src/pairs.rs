//! An image laid out so that a pixel and the three that it is blended with lie side by side.

/// The vertical neighbours of an image whose border pixels are repeated once all round. A buffer to be filled
/// again from image to image.
pub(crate) struct Pairs {
    pub height: usize,
    pub width: usize,
    /// (height + 1, width + 2): pair (row + 1, column + 1) is pixel (row, column) and the one below it.
    pairs: Vec<[f32; 2]>,
}

/// Pixels that are moved at a time: loops of this length become vector instructions.
const CHUNK: usize = 16;

impl Pairs {
    pub const fn new() -> Self {
        Self { height: 0, width: 0, pairs: Vec::new() }
    }

    /// From one row's pairs to the next one's.
    #[inline(always)]
    pub fn stride(&self) -> usize {
        self.width + 2
    }

    /// The pairs, row by row.
    #[inline(always)]
    pub fn as_slice(&self) -> &[[f32; 2]] {
        &self.pairs
    }

    /// A pixel of the image.
    #[inline(always)]
    pub fn pixel(&self, row: usize, column: usize) -> f32 {
        self.pairs[(row + 1) * self.stride() + column + 1][0]
    }

    /// Lays out an image of rows of `width` pixels; neither may be without any.
    #[inline(always)]
    pub fn load(&mut self, image: &[f32], width: usize) {
        (self.height, self.width) = (image.len() / width, width);
        let stride = self.stride();
        self.pairs.resize((self.height + 1) * stride, [0.0; 2]);
        for (index, pairs) in self.pairs.chunks_exact_mut(stride).enumerate() {
            let above = &image[index.saturating_sub(1) * width..][..width];
            let below = &image[index.min(self.height - 1) * width..][..width];
            interleave(above, below, &mut pairs[1..=width]);
            pairs[0] = pairs[1];
            pairs[width + 1] = pairs[width];
        }
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

    #[test]
    fn a_pixel_lies_above_the_next_rows_and_the_border_is_repeated() {
        for (height, width) in [(1, 1), (3, 2), (4, 16), (2, 35)] {
            let image: Vec<f32> = (0..height * width).map(|i| i as f32).collect();
            let mut pairs = Pairs::new();
            pairs.load(&image, width);
            let clamped = |row: usize, column: usize| {
                let (row, column) = (row.saturating_sub(1).min(height - 1), column.saturating_sub(1));
                image[row * width + column.min(width - 1)]
            };
            for (i, &pair) in pairs.as_slice().iter().enumerate() {
                let (row, column) = (i / (width + 2), i % (width + 2));
                assert_eq!(pair, [clamped(row, column), clamped(row + 1, column)], "{height}×{width}: {i}");
            }
            assert_eq!(pairs.pixel(height - 1, width - 1), (height * width - 1) as f32);
        }
    }
}
