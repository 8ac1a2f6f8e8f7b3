//! What an axis shows: a range, and the round numbers written along it.

use std::ops::Range;

use crate::theme::thousands;

/// A range of numbers and the ticks along it.
pub(crate) struct Scale {
    pub range: Range<f64>,
    pub ticks: Vec<f64>,
}

impl Scale {
    /// The ticks with what is written at each.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|&tick| (tick, tick_text(&self.ticks, tick)))
    }
}

/// Values beyond this are left out of a chart, as NaN is: no axis could show them and anything else.
const LARGEST: f64 = 1e30;

/// At most about `count` round numbers in a range, 1, 2 or 5 times a power of ten apart; whole ones on demand.
pub(crate) fn ticks(range: &Range<f64>, count: usize, whole: bool) -> Vec<f64> {
    let span = range.end - range.start;
    if span <= 0.0 {
        return vec![range.start];
    }
    let rough = span / count as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|&step| step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power).max(if whole { 1.0 } else { 0.0 });
    let (first, last) = ((range.start / step - 1e-6).ceil(), (range.end / step + 1e-6).floor());
    (0..=(last - first).max(0.0) as usize).map(|index| (first + index as f64) * step).collect()
}

/// The text of a tick, with as many decimals as tell them apart.
fn tick_text(ticks: &[f64], tick: f64) -> String {
    let step = match ticks {
        [first, second, ..] => second - first,
        _ => return tick.to_string(),
    };
    if tick.abs() < step * 1e-6 {
        return "0".to_owned();
    }
    let power = |value: f64| (value.log10() + 1e-9).floor();
    if !(1e-4..1e6).contains(&step) {
        let decimals = (power(tick.abs()) - power(step)).max(1.0) as usize;
        return format!("{tick:.decimals$e}");
    }
    let decimals = (-power(step)).max(0.0) as usize;
    if decimals == 0 && tick >= 0.0 {
        return thousands(tick.round() as u64);
    }
    format!("{tick:.decimals$}").replace('-', "−")
}

/// Whether a chart can show the value.
pub(crate) fn shown(value: &f64) -> bool {
    value.abs() < LARGEST
}

/// The range of the values that can be shown with some room around them; 0..1 without any.
pub(crate) fn range_of(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .filter(shown)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    let room = match high - low {
        // Far below the rounding of the values themselves there is nothing to tell apart.
        span if span > high.abs().max(low.abs()) * 1e-9 => span * 0.05,
        _ if high == 0.0 => 0.05,
        _ => high.abs() * 0.05,
    };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(range: Range<f64>, count: usize, whole: bool) -> Vec<String> {
        let ticks = ticks(&range, count, whole);
        ticks.iter().map(|&tick| tick_text(&ticks, tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(texts(0.48..0.84, 6, false), ["0.5", "0.6", "0.7", "0.8"]);
        assert_eq!(texts(0.0..9438.0, 5, true), ["0", "2,000", "4,000", "6,000", "8,000"]);
        assert_eq!(texts(1.0..57.0, 8, true), ["10", "20", "30", "40", "50"]);
        assert_eq!(texts(1.0..3.0, 8, true), ["1", "2", "3"]);
        assert_eq!(texts(1.0..1.0, 8, true), ["1"]);
        assert_eq!(texts(-1.0..1.0, 4, false), ["−1.0", "−0.5", "0", "0.5", "1.0"]);
        assert_eq!(texts(0.0..2e8, 4, false), ["0", "5.0e7", "1.0e8", "1.5e8", "2.0e8"]);
        assert_eq!(texts(0.00097..0.00103, 3, false), ["9.8e-4", "1.00e-3", "1.02e-3"]);
    }

    #[test]
    fn ranges_have_room_whatever_the_values() {
        assert_eq!(range_of([f64::NAN, f64::INFINITY].into_iter()), 0.0..1.0);
        assert_eq!(range_of([2.0, f64::NAN, 2.0].into_iter()), 1.9..2.1);
        assert_eq!(range_of([0.0, 1.0].into_iter()), -0.05..1.05);
        let nearly = range_of([1e9, 1e9 + 1e-7].into_iter());
        assert!(nearly.end - nearly.start > 1e7);
    }
}
