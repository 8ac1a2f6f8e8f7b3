//! Several figures on one page.

use crate::{Error, Figure, Result};

/// Figures side by side, `columns` in a row, each column as wide and each row as high as its largest.
///
/// # Errors
/// [`Error::Empty`] without a figure or a column.
///
/// ```
/// let counts = |n| fer_plot::class_counts(&[("happy", n), ("sad", 3)]);
/// let figures = [counts(5)?, counts(6)?, counts(7)?];
/// let page = fer_plot::page(&figures, 2)?;
/// assert_eq!((page.width(), page.height()), (2 * figures[0].width(), 2 * figures[0].height()));
/// # Ok::<(), fer_plot::Error>(())
/// ```
pub fn page(figures: &[Figure], columns: usize) -> Result<Figure> {
    if figures.is_empty() || columns == 0 {
        let missing = if columns == 0 { "columns" } else { "figures" };
        return Err(Error::Empty { figure: "page", missing });
    }
    let columns = columns.min(figures.len());
    let width = |column: usize| figures.iter().skip(column).step_by(columns).map(Figure::width).max();
    let widths: Vec<u32> = (0..columns).filter_map(width).collect();
    let heights: Vec<u32> =
        figures.chunks(columns).filter_map(|row| row.iter().map(Figure::height).max()).collect();
    let mut page = Figure::new(widths.iter().sum::<u32>() as f32, heights.iter().sum::<u32>() as f32);
    for (i, figure) in figures.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let left = widths[..column].iter().sum::<u32>();
        let top = heights[..row].iter().sum::<u32>();
        page.put(figure, (left as f32, top as f32));
    }
    Ok(page)
}
