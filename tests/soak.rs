//! A long run: `cargo test --release --test soak -- --ignored`, some minutes on two cores.

#![allow(clippy::print_stderr, reason = "a long test says what it measured")]
#![cfg(all(feature = "pretrained", target_os = "linux"))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fer::model::{Classifier, Prediction};
use image::{DynamicImage, GrayImage, RgbImage};

/// Predictions of all threads together.
const PREDICTIONS: usize = 100_000;
const THREADS: usize = 4;

/// Noise of different sizes and kinds, the same every time.
fn pictures() -> Vec<DynamicImage> {
    let mut state = 1_u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..200)
        .map(|i| {
            let (width, height) = (1 + draw() % 200, 1 + draw() % 200);
            match i % 2 {
                0 => GrayImage::from_fn(width, height, |_, _| image::Luma([draw() as u8])).into(),
                _ => RgbImage::from_fn(width, height, |_, _| image::Rgb([0; 3].map(|_: u8| draw() as u8)))
                    .into(),
            }
        })
        .collect()
}

/// Memory of the process that is not given back, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[ignore = "takes minutes"]
fn memory_stays_flat_and_answers_the_same() {
    let classifier = Classifier::pretrained().unwrap();
    let pictures = pictures();
    let expected: Vec<Prediction> =
        pictures.iter().map(|picture| classifier.predict(picture).unwrap()).collect();
    let (next, early) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= PREDICTIONS {
                        break;
                    }
                    if i == PREDICTIONS / 10 {
                        early.store(resident(), Ordering::Relaxed);
                    }
                    let at = i * 7 % pictures.len();
                    assert_eq!(classifier.predict(&pictures[at]).unwrap(), expected[at], "prediction {i}");
                }
            });
        }
    });
    let (early, late) = (early.into_inner() as f64, resident() as f64);
    assert!(late < early * 1.05, "{:.1} MB after a tenth, {:.1} MB at the end", early / 1e6, late / 1e6);
    eprintln!("{:.1} MB after a tenth, {:.1} MB at the end", early / 1e6, late / 1e6);
}
