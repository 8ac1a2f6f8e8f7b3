//! Working memory that threads keep from one call to the next: large fresh allocations cost more in page faults
//! than the arithmetic that fills them.

use std::cell::RefCell;

/// Buffers begin on a cache line: this many values.
const LINE: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` values of this thread's working memory, whatever they held before.
///
/// Calls may be nested; each has its own memory, which the thread keeps until it ends.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer = vec![0.0; len + LINE];
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let result = work(&mut buffer[start..start + len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
