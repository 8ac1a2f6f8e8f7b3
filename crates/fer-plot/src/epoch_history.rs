//! Accuracy and loss, epoch by epoch.

use std::collections::BTreeSet;

use fer_metrics::History;

use crate::{
    Error, Figure, Result,
    chart::{Along, Chart},
    scale::{Scale, range_of, shown, ticks},
    shape::Color,
    theme::{BLUE, ORANGE},
};

/// With at most so many epochs each has a dot.
const DOTTED: usize = 15;

/// Accuracy and loss of training and validation by epoch, side by side; metrics of one's own follow to the right.
///
/// Lines have gaps where a value is not finite; without validation there is one line.
///
/// # Errors
/// [`Error::Empty`] without an epoch.
pub fn epoch_history(history: &History) -> Result<Figure> {
    let epochs = history.epochs.iter().map(|log| log.epoch as f64);
    let (Some(first), Some(last)) = (epochs.clone().reduce(f64::min), epochs.reduce(f64::max)) else {
        return Err(Error::Empty { figure: "epoch_history", missing: "epochs" });
    };
    let room = ((last - first) * 0.02).max(if last > first { 0.1 } else { 0.5 });
    let panels = Panel::of(history);
    let mut figure = Figure::new(600.0 * panels.len() as f32, 400.0);
    for (index, Panel { title, train, valid }) in panels.iter().enumerate() {
        let left = 8.0 + 600.0 * index as f32;
        let series = |name: &str| -> Vec<(f64, f64)> {
            let point = |log: &fer_metrics::EpochLog| Some((log.epoch as f64, log.get(name)?));
            history.epochs.iter().filter_map(point).collect()
        };
        let mut lines: Vec<(&str, Color, _)> = vec![("train", BLUE, series(train))];
        lines.push(("valid", ORANGE, series(valid)));
        lines.retain(|(_, _, points)| !points.is_empty());
        let legend: Vec<(&str, Color)> = lines.iter().map(|&(name, color, _)| (name, color)).collect();

        let x = Scale { range: first - room..last + room, ticks: ticks(&(first..last), 10, true) };
        let range = range_of(lines.iter().flat_map(|(_, _, points)| points).map(|&(_, value)| value));
        let y = Scale { ticks: ticks(&range, 8, false), range };
        let x = ("epoch", Along::Scale(x));
        let mut chart = Chart::new(&mut figure, (left, 568.0), title, &legend, x, (train.as_str(), y));
        for (_, color, points) in lines {
            // A value that cannot be shown ends a piece of the line.
            for piece in points.split(|(_, value)| !shown(value)).filter(|piece| !piece.is_empty()) {
                chart.line(piece.to_vec(), color, 2.0);
                if points.len() <= DOTTED || piece.len() == 1 {
                    for &point in piece {
                        chart.dot(point, color, 3.5);
                    }
                }
            }
        }
    }
    Ok(figure)
}

/// What one chart of a history shows.
pub(crate) struct Panel {
    pub title: String,
    /// The names of its values in the training and in the validation.
    pub train: String,
    pub valid: String,
}

impl Panel {
    /// Accuracy, loss, and each metric of one's own.
    pub fn of(history: &History) -> Vec<Self> {
        let own = history.metric_names().into_iter().map(|name| name.strip_prefix("val_").unwrap_or(name));
        let own: BTreeSet<&str> = own.collect();
        let fixed = [("Accuracy", "accuracy"), ("Loss", "loss")];
        let all = fixed.into_iter().chain(own.into_iter().map(|name| (name, name)));
        all.map(|(title, name)| Self {
            title: title.into(),
            train: name.into(),
            valid: format!("val_{name}"),
        })
        .collect()
    }
}
