//! What a learning-rate finder saw.

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    scale::{Scale, range_of, shown, ticks},
    shape::Color,
    theme::{BLUE, ORANGE},
};

/// The loss at each learning rate, on a logarithmic axis, as `fer_train::LearningRateFinder::curve` gives it; a dot marks one
/// rate, where it is one of the curve's.
///
/// # Errors
/// [`Error::Empty`] without a rate over 0 and a loss that can be shown.
///
/// ```
/// let curve: Vec<(f32, f64)> = (0..20).map(|i| (1e-6 * 2_f32.powi(i), 2.0 - f64::from(i) / 20.0)).collect();
/// let figure = fer_plot::learning_rates(&curve, Some(curve[12].0))?;
/// assert!(figure.to_svg()?.contains("learning rate"));
/// # Ok::<(), fer_plot::Error>(())
/// ```
pub fn learning_rates(curve: &[(f32, f64)], marked: Option<f32>) -> Result<Figure> {
    let points: Vec<(f32, f64)> =
        curve.iter().copied().filter(|(rate, loss)| *rate > 0.0 && rate.is_finite() && shown(loss)).collect();
    if points.is_empty() {
        return Err(Error::Empty { figure: "learning_rates", missing: "rates with losses" });
    }
    let place = |&(rate, loss): &(f32, f64)| (f64::from(rate).log10(), loss);
    let range = range_of(points.iter().map(|point| place(point).0));
    let x = Scale { ticks: ticks(&range, 10, true), range };
    let range = range_of(points.iter().map(|point| point.1));
    let y = Scale { ticks: ticks(&range, 8, false), range };
    let mut figure = Figure::new(720.0, 420.0);
    let marked = points.iter().find(|point| Some(point.0) == marked);
    let name = marked.map(|(rate, _)| format!("{rate:.1e}"));
    let legend: Vec<(&str, Color)> = name.iter().map(|name| (name.as_str(), ORANGE)).collect();
    let axes = (("learning rate", Along::Powers(x)), ("smoothed loss", y));
    let mut chart = Chart::new(&mut figure, (8.0, 688.0), "Loss by learning rate", &legend, axes.0, axes.1);
    chart.line(points.iter().map(place), BLUE, 2.0);
    if let Some(point) = marked {
        chart.dot(place(point), ORANGE, 5.0);
    }
    Ok(figure)
}
