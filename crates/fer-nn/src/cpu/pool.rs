//! Maximum pooling over square windows.

use rayon::prelude::*;

use super::vectorized;

/// Planes of `height` × `width`, pooled by `size` × `size` windows that move by `stride`, none beyond the edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub height: usize,
    pub width: usize,
    pub size: usize,
    pub stride: usize,
}

impl Windows {
    pub(crate) fn out_height(&self) -> usize {
        (self.height - self.size) / self.stride + 1
    }

    pub(crate) fn out_width(&self) -> usize {
        (self.width - self.size) / self.stride + 1
    }

    fn is_two_by_two(&self) -> bool {
        self.size == 2 && self.stride == 2
    }
}

/// The greater value; the first when they are equal, NaN when either is.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The maximum of every window.
pub(crate) fn max_pool2d(x: &[f32], windows: Windows) -> Vec<f32> {
    let (out_height, out_width) = (windows.out_height(), windows.out_width());
    let area = windows.height * windows.width;
    let mut y = vec![0.0; x.len() / area * out_height * out_width];
    y.par_chunks_mut(out_height * out_width).zip(x.par_chunks(area)).for_each(|(y, x)| {
        for (r, y) in y.chunks_mut(out_width).enumerate() {
            let rows = &x[r * windows.stride * windows.width..];
            if windows.is_two_by_two() {
                let (top, bottom) = (&rows[..2 * out_width], &rows[windows.width..][..2 * out_width]);
                vectorized(
                    #[inline(always)]
                    || {
                        for (y, (t, b)) in y.iter_mut().zip(top.chunks_exact(2).zip(bottom.chunks_exact(2))) {
                            *y = greater(greater(t[0], t[1]), greater(b[0], b[1]));
                        }
                    },
                );
            } else {
                for (c, y) in y.iter_mut().enumerate() {
                    *y = rows[first_maximum(rows, c * windows.stride, windows)];
                }
            }
        }
    });
    y
}

/// The gradient of the input: each window's goes whole to its first maximum.
pub(crate) fn max_pool2d_backward(x: &[f32], dy: &[f32], windows: Windows) -> Vec<f32> {
    let (out_height, out_width) = (windows.out_height(), windows.out_width());
    let (area, width) = (windows.height * windows.width, windows.width);
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(area).zip(x.par_chunks(area)).zip(dy.par_chunks(out_height * out_width)).for_each(
        |((dx, x), dy)| {
            for (r, dy) in dy.chunks(out_width).enumerate() {
                let start = r * windows.stride * width;
                let rows = &x[start..];
                if windows.is_two_by_two() {
                    let (top, bottom) = (&rows[..2 * out_width], &rows[width..][..2 * out_width]);
                    let (dx_top, dx_bottom) = dx[start..].split_at_mut(width);
                    two_by_two_backward(top, bottom, dy, dx_top, dx_bottom);
                } else {
                    for (c, dy) in dy.iter().enumerate() {
                        dx[start + first_maximum(rows, c * windows.stride, windows)] += dy;
                    }
                }
            }
        },
    );
    dx
}

fn two_by_two_backward(top: &[f32], bottom: &[f32], dy: &[f32], dx_top: &mut [f32], dx_bottom: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            let windows = top.chunks_exact(2).zip(bottom.chunks_exact(2)).zip(dy);
            let outputs = dx_top.chunks_exact_mut(2).zip(dx_bottom.chunks_exact_mut(2));
            for (((t, b), &dy), (dt, db)) in windows.zip(outputs) {
                let (left, right) = (greater(t[0], t[1]), greater(b[0], b[1]));
                let in_bottom = right > left || right.is_nan();
                let top_right = t[1] > t[0] || t[1].is_nan();
                let bottom_right = b[1] > b[0] || b[1].is_nan();
                dt[0] = if !in_bottom && !top_right { dy } else { 0.0 };
                dt[1] = if !in_bottom && top_right { dy } else { 0.0 };
                db[0] = if in_bottom && !bottom_right { dy } else { 0.0 };
                db[1] = if in_bottom && bottom_right { dy } else { 0.0 };
            }
        },
    );
}

/// Where in `rows` the window that begins at column `left` of its first row has its first maximum.
fn first_maximum(rows: &[f32], left: usize, windows: Windows) -> usize {
    let mut best = left;
    for r in 0..windows.size {
        for i in r * windows.width + left..r * windows.width + left + windows.size {
            if rows[i] > rows[best] || rows[i].is_nan() {
                best = i;
            }
        }
    }
    best
}
