//! How accuracy and loss are distributed over the epochs: violin plots as seaborn draws them.

use fer_metrics::History;

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    epoch_history::Panel,
    scale::{Scale, range_of, shown, ticks},
    shape::Color,
    theme::{BLUE, INK, ORANGE, PAPER},
};

/// Half the width of the widest violin; violins stand 1 apart.
const HALF_WIDTH: f64 = 0.4;

/// Violin plots of accuracy and loss over all epochs, training beside validation; metrics of one's own follow to the
/// right.
///
/// As in seaborn: a Gaussian kernel density with Scott's bandwidth, cut two bandwidths beyond the extremes,
/// all violins of a chart to one scale, the quartiles, the whiskers at 1.5 interquartile ranges and the median
/// inside. Values that are not finite do not count; equal values are a line.
///
/// # Errors
/// [`Error::Empty`] without an epoch.
pub fn performance_dist(history: &History) -> Result<Figure> {
    if history.epochs.is_empty() {
        return Err(Error::Empty { figure: "performance_dist", missing: "epochs" });
    }
    let panels = Panel::of(history);
    let mut figure = Figure::new(700.0 * panels.len() as f32, 400.0);
    for (index, Panel { title, train, valid }) in panels.iter().enumerate() {
        let left = 8.0 + 700.0 * index as f32;
        let subsets = [("train", BLUE, train), ("valid", ORANGE, valid)];
        let violins: Vec<(&str, Color, Violin)> = subsets
            .into_iter()
            .filter(|(_, _, name)| history.epochs.iter().any(|log| log.get(name).is_some()))
            .map(|(subset, color, name)| (subset, color, Violin::of(history.values(name))))
            .collect();
        let names: Vec<&str> = violins.iter().map(|&(name, ..)| name).collect();
        let range = range_of(violins.iter().flat_map(|(_, _, violin)| violin.extent()));
        let y = Scale { ticks: ticks(&range, 8, false), range };
        let densest = violins.iter().flat_map(|(_, _, violin)| &violin.density).map(|&(_, density)| density);
        let densest = densest.fold(0.0, f64::max);
        let x = ("subset", Along::Names(&names));
        let mut chart = Chart::new(&mut figure, (left, 668.0), title, &[], x, (train.as_str(), y));
        for (index, (_, color, violin)) in violins.iter().enumerate() {
            violin.draw(&mut chart, index as f64, *color, densest);
        }
    }
    Ok(figure)
}

/// The distribution of some values.
struct Violin {
    /// In ascending order.
    values: Vec<f64>,
    /// Points and the density there; none where all values are equal.
    density: Vec<(f64, f64)>,
}

impl Violin {
    fn of(mut values: Vec<f64>) -> Self {
        values.retain(shown);
        values.sort_unstable_by(f64::total_cmp);
        let density = density(&values);
        Self { values, density }
    }

    /// What the axis has to show.
    fn extent(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().chain(self.density.iter().map(|&(value, _)| value))
    }

    fn draw(&self, chart: &mut Chart<'_>, center: f64, color: Color, densest: f64) {
        let [Some(lower), Some(median), Some(upper)] =
            [0.25, 0.5, 0.75].map(|part| quantile(&self.values, part))
        else {
            return;
        };
        if self.density.is_empty() {
            return chart.line(
                vec![(center - HALF_WIDTH, median), (center + HALF_WIDTH, median)],
                color,
                3.0,
            );
        }
        let side = |sign: f64| {
            let scale = sign * HALF_WIDTH / densest;
            self.density.iter().map(move |&(value, density)| (center + scale * density, value))
        };
        let mut outline: Vec<(f64, f64)> = side(1.0).chain(side(-1.0).rev()).collect();
        outline.extend(side(1.0).next());
        chart.area(outline.clone(), color);
        chart.line(outline, INK, 1.2);
        let reach = 1.5 * (upper - lower);
        let inside = |value: &&f64| (lower - reach..=upper + reach).contains(*value);
        let low = self.values.iter().find(inside).copied().unwrap_or(lower);
        let high = self.values.iter().rfind(inside).copied().unwrap_or(upper);
        chart.line(vec![(center, low), (center, high)], INK, 1.5);
        chart.line(vec![(center, lower), (center, upper)], INK, 7.0);
        chart.dot((center, median), PAPER, 2.6);
    }
}

/// The Gaussian kernel density with Scott's bandwidth, n^(−1/5) standard deviations, from two bandwidths below
/// the lowest value to two above the highest.
fn density(values: &[f64]) -> Vec<(f64, f64)> {
    const POINTS: usize = 160;
    let (Some(lowest), Some(highest)) = (values.first(), values.last()) else { return Vec::new() };
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let bandwidth = variance.sqrt() * count.powf(-0.2);
    // The bandwidth of a single value is NaN.
    if bandwidth.is_nan() || bandwidth <= lowest.abs().max(highest.abs()) * 1e-9 {
        return Vec::new();
    }
    let (start, end) = (lowest - 2.0 * bandwidth, highest + 2.0 * bandwidth);
    let kernel = |distance: f64| (-0.5 * (distance / bandwidth).powi(2)).exp();
    let at = |point: f64| values.iter().map(|value| kernel(point - value)).sum::<f64>();
    let norm = count * bandwidth * (2.0 * std::f64::consts::PI).sqrt();
    let points = (0..POINTS).map(|index| start + (end - start) * index as f64 / (POINTS - 1) as f64);
    points.map(|point| (point, at(point) / norm)).collect()
}

/// The quantile of ascending values, between two of them in proportion, as NumPy takes it.
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let place = part * values.len().checked_sub(1)? as f64;
    let (below, above) = (values.get(place.floor() as usize)?, values.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // np.quantile([1, 2, 4, 8], [0, .25, .5, .75, 1])
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&[1.0, 2.0, 4.0, 8.0], part).unwrap());
        assert_eq!(found, [1.0, 1.75, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn densities_are_those_of_scipy() {
        let x = [1.0, 2.0, 4.0, 8.0];
        let found = density(&x);
        // k = scipy.stats.gaussian_kde(x, "scott"); bandwidth = k.factor * np.std(x, ddof=1)
        let bandwidth = 2.3460988081694527;
        assert!((found[0].0 - (1.0 - 2.0 * bandwidth)).abs() < 1e-12);
        assert!((found[159].0 - (8.0 + 2.0 * bandwidth)).abs() < 1e-12);
        // k(4.5515232554486715)
        let (point, density) = found[80];
        assert!((point - 4.5515232554486715).abs() < 1e-12);
        assert!((density - 0.0928350875437039).abs() < 1e-12, "{density}");
    }

    #[test]
    fn equal_values_have_no_density() {
        assert!(density(&[]).is_empty());
        assert!(density(&[0.5]).is_empty());
        assert!(density(&[0.1 + 0.2, 0.3, 0.3]).is_empty());
    }
}
