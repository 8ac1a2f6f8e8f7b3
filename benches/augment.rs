//! Augmentation of one grey 48×48 image on one core: the notebook's settings, and what they are made of; the recipe.
//!
//! Keras does about 3,700 images/s with the notebook's settings; the figure here is in images/s too.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fer_augment::{Augment, AugmentConfig, FillMode};
use fer_rand::{Purpose, Stream};
use ndarray::Array3;

const AUGMENT: Purpose = Purpose::named("augment");

fn augment(criterion: &mut Criterion) {
    let notebook = AugmentConfig::default;
    let settings = [
        ("notebook", notebook()),
        ("recipe", AugmentConfig::recipe()),
        ("constant", AugmentConfig { fill_mode: FillMode::Constant, ..notebook() }),
        ("reflect", AugmentConfig { fill_mode: FillMode::Reflect, ..notebook() }),
        ("wrap", AugmentConfig { fill_mode: FillMode::Wrap, ..notebook() }),
        ("samplewise_std", AugmentConfig { samplewise_std_normalization: true, ..notebook() }),
        ("brightness", AugmentConfig { brightness_range: Some((0.5, 1.5)), ..notebook() }),
        ("flips", AugmentConfig { vertical_flip: true, horizontal_flip: true, ..AugmentConfig::identity() }),
    ];
    let face = Array3::from_shape_fn((1, 48, 48), |(_, r, c)| ((37 * r + 11 * c * c) % 256) as f32 / 255.0);
    let mut group = criterion.benchmark_group("augment");
    group.throughput(Throughput::Elements(1));
    for (name, config) in settings {
        let augment = Augment::new(config).expect("a valid configuration");
        let mut image = face.clone();
        let mut item = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                item += 1;
                image.assign(&face);
                let mut rng = Stream { seed: 42, purpose: AUGMENT, epoch: 0, item }.rng();
                augment.image(&mut rng, black_box(image.view_mut()))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(std::time::Duration::from_secs(3));
    targets = augment
}
criterion_main!(benches);
