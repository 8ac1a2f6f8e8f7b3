//! How many images each class has.

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart, names_height},
    scale::{Scale, ticks},
    theme::{BLUE, thousands},
};

/// Bars with the number of images of each class, in the order given.
///
/// # Errors
/// [`Error::Empty`] without a class.
pub fn class_counts<N: AsRef<str>>(counts: &[(N, u64)]) -> Result<Figure> {
    if counts.is_empty() {
        return Err(Error::Empty { figure: "class_counts", missing: "classes" });
    }
    let names: Vec<&str> = counts.iter().map(|(name, _)| name.as_ref()).collect();
    let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0).max(1) as f64;
    let width = (100.0 + 90.0 * names.len() as f32).clamp(440.0, 2000.0);
    let names_height = names_height(&names, (width - 100.0) / names.len() as f32);
    let mut figure = Figure::new(width, 400.0 + names_height);

    // The room above the highest bar is for its number.
    let y = Scale { range: 0.0..most * 1.08, ticks: ticks(&(0.0..most), 8, true) };
    let frame = (8.0, width - 24.0);
    let x = ("class", Along::Names(&names));
    let mut chart = Chart::new(&mut figure, frame, "Images per class", &[], x, ("images", y));
    for (index, &(_, count)) in counts.iter().enumerate() {
        let (center, top) = (index as f64, count as f64);
        let (left, right) = (center - 0.38, center + 0.38);
        chart.area(vec![(left, 0.0), (left, top), (right, top), (right, 0.0)], BLUE);
    }
    for (index, &(_, count)) in counts.iter().enumerate() {
        chart.text_above((index as f64, count as f64), &thousands(count));
    }
    Ok(figure)
}
