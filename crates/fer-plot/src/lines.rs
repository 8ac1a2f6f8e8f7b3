//! Lines of numbers over numbers.

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    font,
    scale::{Scale, range_of, ticks},
    shape::Color,
    theme::{PALETTE, TICK_SIZE, TITLE_SIZE},
};

/// Some lines in one chart, each with its name and its points `(x, y)`, from left to right. Each point has a dot.
///
/// # Errors
/// [`Error::Empty`] without a point.
pub fn lines(
    title: &str,
    (x_name, y_name): (&str, &str),
    lines: &[(&str, Vec<(f64, f64)>)],
) -> Result<Figure> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    if points().next().is_none() {
        return Err(Error::Empty { figure: "lines", missing: "points" });
    }
    // Title and legend stand side by side.
    let names = lines.iter().map(|(name, _)| font::width(name, TICK_SIZE) + 68.0).sum::<f32>();
    let width = (names + font::width(title, TITLE_SIZE) + 100.0).max(720.0);
    let mut figure = Figure::new(width, 420.0);
    let legend: Vec<(&str, Color)> =
        lines.iter().map(|(name, _)| *name).zip(PALETTE.into_iter().cycle()).collect();
    let scale = |range: std::ops::Range<f64>, count| Scale { ticks: ticks(&range, count, false), range };
    let x = scale(range_of(points().map(|point| point.0)), 10);
    let y = scale(range_of(points().map(|point| point.1)), 8);
    let mut chart =
        Chart::new(&mut figure, (8.0, width - 32.0), title, &legend, (x_name, Along::Scale(x)), (y_name, y));
    for ((_, points), (_, color)) in lines.iter().zip(&legend) {
        chart.line(points.iter().copied(), *color, 2.0);
        points.iter().for_each(|&point| chart.dot(point, *color, 3.5));
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_and_need_points() {
        let drawn = lines(
            "found",
            ("pixels", "part"),
            &[("upright", vec![(40.0, 0.6), (80.0, 0.9)]), ("30°", vec![])],
        );
        let svg = drawn.unwrap().to_svg().unwrap();
        assert!(svg.contains("upright") && svg.contains("pixels"));
        assert!(lines("", ("", ""), &[("a", vec![])]).is_err());
    }
}
