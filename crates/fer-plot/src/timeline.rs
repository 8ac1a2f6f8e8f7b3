//! What a face shows over time.

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    scale::{Scale, ticks},
    shape::Color,
    theme::PALETTE,
};

/// The probabilities of the labels over time, stacked to 1, each point `(seconds, one probability a label)`. A gap of over a second
/// between points stays empty.
///
/// # Errors
/// [`Error::Empty`] without a point or without labels.
pub fn timeline<T: AsRef<str>>(title: &str, labels: &[T], points: &[(f64, Vec<f32>)]) -> Result<Figure> {
    let (Some(first), Some(last), false) = (points.first(), points.last(), labels.is_empty()) else {
        return Err(Error::Empty { figure: "timeline", missing: "points" });
    };
    let mut figure = Figure::new(1100.0, 320.0);
    let legend: Vec<(&str, Color)> =
        labels.iter().map(AsRef::as_ref).zip(PALETTE.into_iter().cycle()).collect();
    let range = first.0..last.0.max(first.0 + 0.1);
    let x = ("seconds", Along::Scale(Scale { ticks: ticks(&range, 12, false), range }));
    let y = ("probability", Scale { ticks: ticks(&(0.0..1.0), 5, false), range: 0.0..1.0 });
    let mut chart = Chart::new(&mut figure, (8.0, 1084.0), title, &legend, x, y);
    for piece in points.chunk_by(|a, b| b.0 - a.0 <= 1.0) {
        let below = |label: usize| {
            piece.iter().map(move |(time, shares)| {
                let sum: f64 = shares.iter().take(label).map(|&share| f64::from(share)).sum();
                (*time, sum.clamp(0.0, 1.0))
            })
        };
        for (label, (_, color)) in legend.iter().enumerate() {
            let upper: Vec<_> = below(label + 1).collect();
            chart.area(below(label).chain(upper.into_iter().rev()), *color);
        }
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_point_and_a_gap_are_drawn() {
        let labels = ["happy", "sad"];
        let at = |time| (time, vec![0.25, 0.75]);
        for points in [vec![at(3.0)], vec![at(0.0), at(0.1), at(5.0), at(5.1)]] {
            assert!(timeline("face 0", &labels, &points).unwrap().to_svg().unwrap().contains("happy"));
        }
        assert!(timeline("face 0", &labels, &[]).is_err());
    }
}
