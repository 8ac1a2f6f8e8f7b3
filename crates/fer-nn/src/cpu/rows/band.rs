//! A band of rows through a chain of layers.

use super::layer::Step;
use super::row::{Kept, Row};
use crate::cpu::groups::GROUP;
use crate::cpu::scratch::with_scratch;

/// A layer at work.
struct Level<'a> {
    step: &'a Step<'a>,
    /// Rows of the output: the latest `capacity`, or the band's.
    rows: &'a mut [f32],
    capacity: usize,
    /// The row that lies first, where it is not row 0.
    origin: usize,
    /// The row that is made next.
    next: usize,
}

/// Makes the rows from `first` on of an image's map that `out` has room for. `source` is the map that the chain reads, unless its
/// first layer reads images.
pub(super) fn run(steps: &[Step], image: usize, source: Option<Kept>, first: usize, out: &mut [f32]) {
    let Some((last, between)) = steps.split_last() else { return };
    // Each layer keeps the rows under the next one's kernel.
    let capacity = |i: usize| steps[i + 1].window.kernel.max(1);
    let lens =
        between.iter().enumerate().map(|(i, step)| (capacity(i) * step.output.len()).next_multiple_of(GROUP));
    with_scratch(lens.clone().sum(), |mut memory| {
        let mut levels = Vec::with_capacity(steps.len());
        for ((i, step), len) in between.iter().enumerate().zip(lens) {
            let (rows, rest) = memory.split_at_mut(len);
            step.output.clear_around(&mut rows[..capacity(i) * step.output.len()]);
            levels.push(Level { step, rows, capacity: capacity(i), origin: 0, next: 0 });
            memory = rest;
        }
        let rows = out.len() / last.output.len();
        levels.push(Level { step: last, rows: out, capacity: rows, origin: first, next: first });
        for i in (1..levels.len()).rev() {
            let (step, y) = (levels[i].step, levels[i].next);
            levels[i - 1].next = step.window.under(y, step.in_height).start;
        }
        let none = Kept { rows: &[], capacity: 1, row: Row::default() };
        make(&mut levels, image, source.unwrap_or(none), first + rows);
    });
}

/// Makes all rows of the last layer before row `end`.
fn make(levels: &mut [Level], image: usize, source: Kept, end: usize) {
    let Some((level, before)) = levels.split_last_mut() else { return };
    while level.next < end {
        let (step, y) = (level.step, level.next);
        make(before, image, source, step.window.under(y, step.in_height).end);
        let input = match before.last() {
            Some(Level { step, rows, capacity, .. }) => Kept { rows, capacity: *capacity, row: step.output },
            None => source,
        };
        let len = step.output.len();
        step.run(image, y, input, &mut level.rows[(y - level.origin) % level.capacity * len..][..len]);
        level.next += 1;
    }
}
