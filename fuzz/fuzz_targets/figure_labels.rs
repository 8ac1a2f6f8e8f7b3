//! Names and numbers in figures.
#![no_main]

use fer::metrics::ConfusionMatrix;
use fer::plot;
use fer_fuzz::told;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let names: Vec<&str> = text.split('\n').take(12).collect();
    let counts: Vec<(&str, u64)> = names.iter().map(|name| (*name, name.len() as u64)).collect();
    let classes: Vec<usize> = (0..names.len()).collect();
    let matrix = ConfusionMatrix::new(&classes, &classes, names.len()).unwrap();
    let row: Vec<f32> = names.iter().map(|name| name.parse().unwrap_or(0.5)).collect();
    let points = [(0.0, row.clone()), (0.5, row)];
    let figures = [
        plot::class_counts(&counts),
        plot::confusion_matrix(&matrix, &names),
        plot::timeline(names[0], &names, &points),
    ];
    for figure in figures.into_iter().filter_map(told) {
        let svg = figure.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"));
        // Of every eighth text: to draw pixels takes a thousand times longer.
        if text.len().is_multiple_of(8) {
            assert!(figure.to_png().unwrap().starts_with(b"\x89PNG"));
        }
    }
});
