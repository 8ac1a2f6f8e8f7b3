//! Memory that begins on a cache line: a vector of a group of channels never lies across two.

use pulp::bytemuck::{self, Pod, Zeroable};

use crate::cpu::groups::{GROUP, Lanes};

/// One value of each channel of a group.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line(pub Lanes);

// SAFETY: sixteen zeros are a line.
unsafe impl Zeroable for Line {}

// SAFETY: a line is its sixteen values, which fill its 64 bytes; any bits are values.
unsafe impl Pod for Line {}

/// The lines as values.
pub(super) fn values(lines: &[Line]) -> &[f32] {
    bytemuck::cast_slice(lines)
}

/// The first `len` values of lines, of which there come to be as many as that takes.
pub(super) fn sized(lines: &mut Vec<Line>, len: usize) -> &mut [f32] {
    lines.resize(len.div_ceil(GROUP), Line::zeroed());
    &mut bytemuck::cast_slice_mut(lines)[..len]
}

/// One value a channel, in lines, 0 beyond the last.
pub(super) fn in_lines(values: &[f32]) -> Vec<Line> {
    let line = |values: &[f32]| Line(std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0)));
    values.chunks(GROUP).map(line).collect()
}
