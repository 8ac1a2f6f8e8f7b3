//! Curves of probabilities, both axes from 0 to 1.

use fer_metrics::{PrecisionRecallCurve, ReliabilityBin, RocCurve};

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    font,
    scale::{Scale, ticks},
    shape::{Horizontal, Text},
    theme::{CENTERED, FAINT, PALETTE, TICK_SIZE},
};

/// The width of the chart; the names stand to the right of it.
const CHART: f32 = 480.0;
const LINE: f32 = 24.0;

/// ROC curves by their names, each with the area under it; the diagonal is chance.
///
/// # Errors
/// [`Error::Empty`] without a curve that has points.
pub fn roc_curves(curves: &[(&str, &RocCurve)]) -> Result<Figure> {
    let lines = curves.iter().map(|(name, curve)| {
        let points = curve.false_positive_rate.iter().copied().zip(curve.true_positive_rate.iter().copied());
        (format!("{name} {:.3}", curve.area), points.collect())
    });
    unit("ROC", ("false positive rate", "true positive rate"), &lines.collect::<Vec<_>>(), true, 0.0)
}

/// Precision over recall by their names.
///
/// # Errors
/// [`Error::Empty`] without a curve that has points.
pub fn precision_recall_curves(curves: &[(&str, &PrecisionRecallCurve)]) -> Result<Figure> {
    let lines = curves.iter().map(|(name, curve)| {
        let points = curve.recall.iter().copied().zip(curve.precision.iter().copied());
        ((*name).to_owned(), points.collect())
    });
    unit("Precision and recall", ("recall", "precision"), &lines.collect::<Vec<_>>(), false, 0.0)
}

/// Reliability diagrams by their names: how often answers of each confidence are right. On the diagonal they are as sure as they
/// are right; below it they are too sure. Bins without samples are left out.
///
/// # Errors
/// [`Error::Empty`] without a bin that has samples.
pub fn reliability_diagram(models: &[(&str, &[ReliabilityBin])]) -> Result<Figure> {
    let lines = models.iter().map(|(name, bins)| {
        let filled = bins.iter().filter(|bin| bin.samples > 0);
        ((*name).to_owned(), filled.map(|bin| (bin.confidence, bin.accuracy)).collect())
    });
    unit("Reliability", ("confidence", "part that is right"), &lines.collect::<Vec<_>>(), true, 3.5)
}

/// Lines over the unit square, with dots of this radius.
fn unit(
    title: &str,
    (x_name, y_name): (&str, &str),
    lines: &[(String, Vec<(f64, f64)>)],
    diagonal: bool,
    dots: f32,
) -> Result<Figure> {
    let is_shown = |points: &[(f64, f64)]| points.iter().any(|(x, y)| x.is_finite() && y.is_finite());
    let lines: Vec<_> = lines.iter().filter(|(_, points)| is_shown(points)).collect();
    if lines.is_empty() {
        return Err(Error::Empty { figure: "curves", missing: "points" });
    }
    let widest = lines.iter().map(|(name, _)| font::width(name, TICK_SIZE)).fold(0.0, f32::max);
    let mut figure = Figure::new(CHART + widest + 80.0, 460.0);
    let scale = || Scale { ticks: ticks(&(0.0..1.0), 5, false), range: 0.0..1.0 };
    let x = (x_name, Along::Scale(scale()));
    let mut chart = Chart::new(&mut figure, (8.0, CHART), title, &[], x, (y_name, scale()));
    if diagonal {
        chart.line([(0.0, 0.0), (1.0, 1.0)], FAINT, 1.0);
    }
    for ((_, points), color) in lines.iter().zip(PALETTE.into_iter().cycle()) {
        chart.line(points.iter().copied(), color, 2.0);
        points.iter().filter(|_| dots > 0.0).for_each(|&point| chart.dot(point, color, dots));
    }
    for (i, ((name, _), color)) in lines.iter().zip(PALETTE.into_iter().cycle()).enumerate() {
        let (left, middle) = (CHART + 24.0, 60.0 + LINE * i as f32);
        figure.rect((left, middle - 2.0), (20.0, 4.0), color);
        figure.text(name, (left + 28.0, middle), &Text { horizontal: Horizontal::Left, ..CENTERED });
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn curves_are_drawn_with_their_names_and_areas() {
        let (truth, scores) = ([0, 1, 0, 1], arr2(&[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]));
        let roc = fer_metrics::roc_curve(&truth, scores.view(), 0).unwrap();
        let svg = roc_curves(&[("happy", &roc)]).unwrap().to_svg().unwrap();
        assert!(svg.contains("happy 0.750"), "{svg}");
        let curve = fer_metrics::precision_recall_curve(&truth, scores.view(), 1).unwrap();
        assert!(precision_recall_curves(&[("sad", &curve)]).unwrap().to_svg().unwrap().contains("sad"));
        let bins = fer_metrics::reliability(&truth, scores.view(), 10).unwrap();
        assert!(reliability_diagram(&[("model", &bins)]).unwrap().to_svg().unwrap().contains("model"));
    }

    #[test]
    fn what_has_no_points_is_not_drawn() {
        assert!(roc_curves(&[]).is_err());
        // A class that does not occur has no true positive rate.
        let absent = fer_metrics::roc_curve(&[0, 0], arr2(&[[0.5, 0.5], [0.4, 0.6]]).view(), 1).unwrap();
        assert!(roc_curves(&[("absent", &absent)]).is_err());
    }
}
