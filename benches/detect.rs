//! Faces in a picture of 640×480: finding them on one thread, with the eyes, and with their emotions on two.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fer::Recognizer;
use fer_detect::{Detector, DetectorConfig};
use image::RgbImage;

fn detect(c: &mut Criterion) {
    let picture = three_faces();
    let without_eyes = Detector::with(DetectorConfig { eyes: false, ..DetectorConfig::default() }).unwrap();
    let detector = Detector::new().unwrap();
    let recognizer = Recognizer::pretrained().unwrap();
    assert_eq!(recognizer.recognize_rgb(&picture).unwrap().len(), 3);
    let mut group = c.benchmark_group("detect");
    group.sample_size(50);
    group.throughput(Throughput::Elements(1));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    group.bench_function("faces", |b| {
        one.install(|| b.iter(|| black_box(without_eyes.detect_rgb(&picture).unwrap())));
    });
    group.bench_function("faces on two threads", |b| {
        two.install(|| b.iter(|| black_box(without_eyes.detect_rgb(&picture).unwrap())));
    });
    group.bench_function("faces and eyes", |b| {
        one.install(|| b.iter(|| black_box(detector.detect_rgb(&picture).unwrap())));
    });
    group.bench_function("emotions on two threads", |b| {
        two.install(|| b.iter(|| black_box(recognizer.recognize_rgb(&picture).unwrap())));
    });
    group.finish();
}

/// One face three times, side by side.
fn three_faces() -> RgbImage {
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/fer-detect/tests/photos/astronaut.png");
    let photo = image::open(photo).unwrap().to_rgb8();
    RgbImage::from_fn(640, 480, |x, y| *photo.get_pixel(120 + x % 213, y))
}

criterion_group!(benches, detect);
criterion_main!(benches);
