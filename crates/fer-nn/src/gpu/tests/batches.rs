//! Batches made by the emulated card: image for image against fer-augment's, and what it does not make against its formula.

use std::sync::Arc;

use fer_augment::{Augment, AugmentConfig, FillMode, Generation};
use fer_rand::{Purpose, Stream};
use ndarray::ArrayViewMut3;

use super::random;
use crate::engine::{Change, Edge, EpochPlan, Mix, Rectangle, Samples, Stretch, Treatment};
use crate::gpu::args::State;
use crate::gpu::batches::{Batch, Batches};
use crate::gpu::emulator::Emulator;
use crate::gpu::memory::Memory;

const SAMPLES: usize = 10;
const BATCH: usize = 3;
const CLASSES: usize = 5;

#[test]
fn augmented_images_are_fer_augments() {
    let Some(emulator) = Emulator::new() else { return };
    let memory = Memory::new(Arc::new(emulator));
    let modes = [
        (FillMode::Nearest, Edge::Nearest),
        (FillMode::Constant, Edge::Constant(0.25)),
        (FillMode::Reflect, Edge::Reflect),
        (FillMode::Wrap, Edge::Wrap),
    ];
    for (height, width) in [(48, 48), (17, 9), (1, 5)] {
        for generation in [Generation::Keras2, Generation::Keras3] {
            for (fill_mode, edge) in modes {
                let config = AugmentConfig {
                    rotation_range: 40.0,
                    width_shift_range: 0.3,
                    height_shift_range: 0.3,
                    shear_range: 20.0,
                    zoom_range: (0.6, 1.5),
                    horizontal_flip: true,
                    vertical_flip: true,
                    fill_mode,
                    cval: 0.25,
                    generation,
                    ..AugmentConfig::identity()
                };
                let moves = Augment::new(config.clone()).unwrap();
                check(&memory, height, width, &moves, edge);
                let brightness_range = Some((0.0, 2.0));
                for (channel_shift_range, brightness_range) in
                    [(0.3, None), (0.0, brightness_range), (0.2, brightness_range)]
                {
                    for cval in [0.25, -0.5, 300.0] {
                        let config =
                            AugmentConfig { channel_shift_range, brightness_range, cval, ..config.clone() };
                        let edge = if edge == Edge::Constant(0.25) { Edge::Constant(cval) } else { edge };
                        check(&memory, height, width, &Augment::new(config).unwrap(), edge);
                    }
                }
                check(&memory, height, width, &Augment::new(AugmentConfig::identity()).unwrap(), edge);
            }
        }
        check(&memory, height, width, &Augment::new(AugmentConfig::recipe()).unwrap(), Edge::Reflect);
    }
}

/// Ten random images, the targets of which are numbers that tell them apart.
fn samples(height: usize, width: usize) -> Samples {
    let pixels = random(SAMPLES * height * width, 1).iter().map(|v| (v * 60.0 + 128.0) as u8).collect();
    let targets = (0..SAMPLES * CLASSES).map(|i| i as f32 / 64.0).collect();
    Samples { pixels, targets, classes: CLASSES, height, width, batch_size: BATCH, drop_last: false }
}

fn order() -> Vec<u32> {
    (0..SAMPLES as u32).map(|i| (i * 3 + 1) % SAMPLES as u32).collect()
}

fn image(samples: &Samples, row: u32) -> Vec<f32> {
    let area = samples.height * samples.width;
    samples.pixels[row as usize * area..][..area].iter().map(|&v| f32::from(v) / 255.0).collect()
}

fn target(samples: &Samples, row: u32) -> &[f32] {
    &samples.targets[row as usize * CLASSES..][..CLASSES]
}

/// The images and targets of the second batch; without a plan, of samples that are validated on.
fn second_batch(
    memory: &Memory<Emulator>,
    samples: &Samples,
    treatment: Treatment,
    plan: Option<&EpochPlan>,
) -> [Vec<f32>; 2] {
    let area = samples.height * samples.width;
    let mut batches = Batches::new(samples, treatment, memory, plan.is_some()).unwrap();
    if let Some(plan) = plan {
        batches.begin(4, plan, memory).unwrap();
    }
    let batch = Batch {
        images: memory.zeros::<f32>(BATCH * area).unwrap(),
        targets: memory.zeros::<f32>(BATCH * CLASSES).unwrap(),
        state: memory.holding(&[State { seed: 0, epoch: 4, step: 1 }]).unwrap(),
        len: BATCH,
    };
    batches.queue(batch, &*memory.gpu).unwrap();
    [memory.read(batch.images, BATCH * area).unwrap(), memory.read(batch.targets, BATCH * CLASSES).unwrap()]
}

/// The second batch of three images, of ten.
fn check(memory: &Memory<Emulator>, height: usize, width: usize, augment: &Augment, edge: Edge) {
    let samples = samples(height, width);
    let rng = |row: u32| Stream { seed: 9, purpose: Purpose::named("augment"), epoch: 4, item: row }.rng();
    let change =
        |&row: &u32| {
            let transform = augment.draw(&mut rng(row), height, width);
            Change {
                map: augment.map(&transform, height, width),
                flip_horizontal: transform.flip_horizontal,
                flip_vertical: transform.flip_vertical,
                shift: transform.channel_shift_intensity.unwrap_or_default() as f32,
                brightness: transform.brightness.map(|factor| factor as f32),
                contrast: transform.contrast.unwrap_or(1.0) as f32,
                offset: transform.offset.unwrap_or_default() as f32,
                erased: transform.erased.map(|fer_augment::Rectangle { top, left, bottom, right }| {
                    Rectangle { top, left, bottom, right }
                }),
            }
        };
    let stretch = match augment.config().generation {
        Generation::Keras3 => Stretch::OutsideBytes,
        _ => Stretch::Always,
    };
    let order = order();
    let plan = EpochPlan { changes: order.iter().map(change).collect(), order, mixes: Vec::new() };
    let config = augment.config();
    let clamps = config.contrast_range != 0.0 || config.offset_range != 0.0;
    let erased_value = config.erase.map_or(0.0, |erase| erase.value);
    let treatment = Treatment { edge, stretch, clamps, erased_value, ..Default::default() };
    let [images, targets] = second_batch(memory, &samples, treatment, Some(&plan));
    for (place, found) in images.chunks(height * width).enumerate() {
        let row = plan.order[BATCH + place];
        let mut wanted = image(&samples, row);
        let view = ArrayViewMut3::from_shape((1, height, width), &mut wanted).unwrap();
        augment.image(&mut rng(row), view).unwrap();
        for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let at = (i / width, i % width);
            assert!(
                (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                "{edge:?} row {row}, {at:?}: {found}, fer-augment {wanted}"
            );
        }
        assert_eq!(targets[place * CLASSES..][..CLASSES], *target(&samples, row));
    }

    // Without a plan: the images as they are, in their order.
    let [images, targets] = second_batch(memory, &samples, treatment, None);
    let rows = || BATCH as u32..2 * BATCH as u32;
    assert_eq!(images, rows().flat_map(|row| image(&samples, row)).collect::<Vec<_>>());
    assert_eq!(targets, rows().flat_map(|row| target(&samples, row).to_vec()).collect::<Vec<_>>());
}

/// Contrast, offset, bounds and erasing, by their formulas.
fn changed(mut pixels: Vec<f32>, width: usize, change: &Change, treatment: &Treatment) -> Vec<f32> {
    if change.contrast != 1.0 {
        let mean = (pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64) as f32;
        pixels.iter_mut().for_each(|v| *v = (*v - mean) * change.contrast + mean);
    }
    for (i, value) in pixels.iter_mut().enumerate() {
        *value += change.offset;
        if treatment.clamps {
            *value = value.clamp(0.0, 1.0);
        }
        let (row, column) = ((i / width) as u32, (i % width) as u32);
        let is_in = |erased: Rectangle| {
            (erased.top..erased.bottom).contains(&row) && (erased.left..erased.right).contains(&column)
        };
        if change.erased.is_some_and(is_in) {
            *value = treatment.erased_value;
        }
    }
    pixels
}

fn close(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len());
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!(
            (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
            "{what}, {i}: {found}, by formula {wanted}"
        );
    }
}

#[test]
fn contrast_offset_erasing_blending_and_standardising_follow_their_formulas() {
    let Some(emulator) = Emulator::new() else { return };
    let memory = Memory::new(Arc::new(emulator));
    let erased = Rectangle { top: 1, left: 2, bottom: 4, right: 40 };
    let change = Change { contrast: 1.4, offset: 0.3, erased: Some(erased), ..Default::default() };
    let kinds = [
        change,
        Change { contrast: 0.6, ..Default::default() },
        Change { offset: -0.6, ..Default::default() },
        Change { erased: Some(Rectangle::default()), ..Default::default() },
        Change::default(),
    ];
    for (height, width) in [(48, 48), (17, 9), (1, 5)] {
        let samples = samples(height, width);
        for clamps in [false, true] {
            for (mean, deviation) in [(0.0, 1.0), (0.5, 0.25)] {
                for blends in [false, true] {
                    let treatment =
                        Treatment { clamps, erased_value: 0.4, mean, deviation, ..Default::default() };
                    let steps = 0..samples.steps();
                    let mix = |step: usize| {
                        let len = samples.batch(step) as u32;
                        Mix { share: 0.7, partners: (0..len).map(|i| (i + 1) % len).collect() }
                    };
                    let plan = EpochPlan {
                        order: order(),
                        changes: (0..SAMPLES).map(|i| kinds[i % kinds.len()]).collect(),
                        mixes: if blends { steps.map(mix).collect() } else { Vec::new() },
                    };
                    let places = BATCH..2 * BATCH;
                    let images: Vec<_> = places
                        .clone()
                        .map(|i| changed(image(&samples, plan.order[i]), width, &plan.changes[i], &treatment))
                        .collect();
                    let targets: Vec<_> = places.map(|i| target(&samples, plan.order[i]).to_vec()).collect();
                    let blended = |of: &[Vec<f32>]| -> Vec<f32> {
                        let partner = |i: usize| if blends { &of[(i + 1) % BATCH] } else { &of[i] };
                        let share = if blends { 0.7_f32 } else { 1.0 };
                        let blend = |i: usize| {
                            of[i].iter().zip(partner(i)).map(move |(a, b)| share * a + (1.0 - share) * b)
                        };
                        (0..BATCH).flat_map(blend).collect()
                    };
                    let wanted: Vec<f32> = blended(&images).iter().map(|v| (v - mean) / deviation).collect();
                    let [found, found_targets] = second_batch(&memory, &samples, treatment, Some(&plan));
                    close(&found, &wanted, "images");
                    close(&found_targets, &blended(&targets), "targets");
                }
            }
        }
        // What is validated on is standardised alone.
        let treatment = Treatment { mean: 0.3, deviation: 0.5, clamps: true, ..Default::default() };
        let [found, _] = second_batch(&memory, &samples, treatment, None);
        let rows = BATCH as u32..2 * BATCH as u32;
        let wanted: Vec<f32> = rows.flat_map(|row| image(&samples, row)).map(|v| (v - 0.3) / 0.5).collect();
        close(&found, &wanted, "validation");
    }
}

#[test]
fn a_change_that_is_the_default_changes_nothing() {
    let Some(emulator) = Emulator::new() else { return };
    let memory = Memory::new(Arc::new(emulator));
    let samples = samples(7, 6);
    for clamps in [false, true] {
        let treatment = Treatment { clamps, ..Default::default() };
        let plain = EpochPlan { order: order(), ..Default::default() };
        let plan = EpochPlan { changes: vec![Change::default(); SAMPLES], ..plain.clone() };
        let wanted = second_batch(&memory, &samples, treatment, Some(&plain));
        assert_eq!(second_batch(&memory, &samples, treatment, Some(&plan)), wanted);
    }
}
