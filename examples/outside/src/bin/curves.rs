//! Numbers of one's own as curves, and how good probabilities are, on one page: `curves FILE`.

use std::error::Error;

use fer_metrics::{precision_recall_curve, reliability, roc_curve};
use fer_plot::{lines, page, precision_recall_curves, reliability_diagram, roc_curves};
use ndarray::Array2;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: curves FILE")?;
    // Two classes; the probabilities are right more often than not.
    let truth: Vec<usize> = (0..200).map(|i| i * 7 % 2).collect();
    let sure = |i: usize| 0.5 + (i * 13 % 40) as f32 / 100.0 - if i % 9 == 0 { 0.3 } else { 0.0 };
    let scores =
        Array2::from_shape_fn((200, 2), |(i, class)| if class == truth[i] { sure(i) } else { 1.0 - sure(i) });

    let roc = roc_curve(&truth, scores.view(), 1)?;
    let recall = precision_recall_curve(&truth, scores.view(), 1)?;
    let bins = reliability(&truth, scores.view(), 10)?;
    let wave =
        |phase: f64| Vec::from_iter((0..50).map(|i| (f64::from(i), (f64::from(i) / 8.0 + phase).sin())));
    let figures = [
        lines("Waves", ("time", "height"), &[("first", wave(0.0)), ("second", wave(1.0))])?,
        roc_curves(&[("ours", &roc)])?,
        precision_recall_curves(&[("ours", &recall)])?,
        reliability_diagram(&[("ours", bins.as_slice())])?,
    ];
    println!("area {:.3}", roc.area);
    Ok(page(&figures, 2)?.save(file)?)
}
