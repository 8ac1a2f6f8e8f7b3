//! Pooling over square windows: the maximum, and the mean of the values that are there.

use rayon::prelude::*;

use super::vectorized;
use crate::geometry::Windows;

/// The greater value; the first when they are equal, NaN when either is.
#[inline(always)]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// Where a 2×2 window's first maximum is: whether it is to the right in the upper row, to the right in the lower row, and in
/// the lower row.
#[inline(always)]
pub(super) fn first_of_four(a: f32, b: f32, c: f32, d: f32) -> [bool; 3] {
    let (above, under) = (greater(a, b), greater(c, d));
    [(b > a) | b.is_nan(), (d > c) | d.is_nan(), (under > above) | under.is_nan()]
}

/// Calls `each(output index, window)` for the windows of a plane.
fn for_windows(windows: &Windows, mut each: impl FnMut(usize, [std::ops::Range<usize>; 2])) {
    for row in 0..windows.out_height {
        for column in 0..windows.out_width {
            each(row * windows.out_width + column, windows.covered(row, column));
        }
    }
}

/// Where in a plane a window has its first maximum.
fn first_maximum(x: &[f32], width: usize, [rows, columns]: [std::ops::Range<usize>; 2]) -> usize {
    let mut best = rows.start * width + columns.start;
    for row in rows {
        for i in row * width + columns.start..row * width + columns.end {
            if x[i] > x[best] || x[i].is_nan() {
                best = i;
            }
        }
    }
    best
}

/// The maximum of every window.
pub(crate) fn max_pool2d(x: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { height, width, out_height, out_width, .. } = windows;
    let mut y = vec![0.0; x.len() / (height * width) * out_height * out_width];
    y.par_chunks_mut(out_height * out_width).zip(x.par_chunks(height * width)).for_each(|(y, x)| {
        if !windows.is_two_by_two() {
            return for_windows(&windows, |at, window| y[at] = x[first_maximum(x, width, window)]);
        }
        for (r, y) in y.chunks_mut(out_width).enumerate() {
            let rows = &x[2 * r * width..];
            let (top, bottom) = (&rows[..2 * out_width], &rows[width..][..2 * out_width]);
            vectorized(
                #[inline(always)]
                || {
                    for (y, (t, b)) in y.iter_mut().zip(top.chunks_exact(2).zip(bottom.chunks_exact(2))) {
                        *y = greater(greater(t[0], t[1]), greater(b[0], b[1]));
                    }
                },
            );
        }
    });
    y
}

/// The gradient of the input: each window's goes whole to its first maximum.
pub(crate) fn max_pool2d_backward(x: &[f32], dy: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { height, width, out_height, out_width, .. } = windows;
    let mut dx = vec![0.0; x.len()];
    let planes = dx.par_chunks_mut(height * width).zip(x.par_chunks(height * width));
    planes.zip(dy.par_chunks(out_height * out_width)).for_each(|((dx, x), dy)| {
        if !windows.is_two_by_two() {
            return for_windows(&windows, |at, window| dx[first_maximum(x, width, window)] += dy[at]);
        }
        for (r, dy) in dy.chunks(out_width).enumerate() {
            let start = 2 * r * width;
            let rows = &x[start..];
            let (top, bottom) = (&rows[..2 * out_width], &rows[width..][..2 * out_width]);
            let (dx_top, dx_bottom) = dx[start..].split_at_mut(width);
            two_by_two_backward(top, bottom, dy, dx_top, dx_bottom);
        }
    });
    dx
}

fn two_by_two_backward(top: &[f32], bottom: &[f32], dy: &[f32], dx_top: &mut [f32], dx_bottom: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            let windows = top.chunks_exact(2).zip(bottom.chunks_exact(2)).zip(dy);
            let outputs = dx_top.chunks_exact_mut(2).zip(dx_bottom.chunks_exact_mut(2));
            for (((t, b), &dy), (dt, db)) in windows.zip(outputs) {
                let [top_right, bottom_right, in_bottom] = first_of_four(t[0], t[1], b[0], b[1]);
                dt[0] = if !in_bottom && !top_right { dy } else { 0.0 };
                dt[1] = if !in_bottom && top_right { dy } else { 0.0 };
                db[0] = if in_bottom && !bottom_right { dy } else { 0.0 };
                db[1] = if in_bottom && bottom_right { dy } else { 0.0 };
            }
        },
    );
}

/// The mean of the values of every window.
pub(crate) fn mean_pool2d(x: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { height, width, out_height, out_width, .. } = windows;
    let mut y = vec![0.0; x.len() / (height * width) * out_height * out_width];
    y.par_chunks_mut(out_height * out_width).zip(x.par_chunks(height * width)).for_each(|(y, x)| {
        for_windows(&windows, |at, [rows, columns]| {
            let count = rows.len() * columns.len();
            let row_sum = |row: usize| x[row * width..][columns.clone()].iter().sum::<f32>();
            y[at] = rows.map(row_sum).sum::<f32>() / count as f32;
        });
    });
    y
}

/// The gradient of the input: each window's in equal parts to its values.
pub(crate) fn mean_pool2d_backward(dy: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { height, width, out_height, out_width, .. } = windows;
    let mut dx = vec![0.0; dy.len() / (out_height * out_width) * height * width];
    dx.par_chunks_mut(height * width).zip(dy.par_chunks(out_height * out_width)).for_each(|(dx, dy)| {
        for_windows(&windows, |at, [rows, columns]| {
            let part = dy[at] / (rows.len() * columns.len()) as f32;
            for row in rows {
                dx[row * width..][columns.clone()].iter_mut().for_each(|dx| *dx += part);
            }
        });
    });
    dx
}
