//! Batches made by the emulated card against fer-augment's, image for image.

use std::sync::Arc;

use fer_augment::{Augment, AugmentConfig, FillMode, Generation};
use fer_rand::{Purpose, Stream};
use ndarray::ArrayViewMut3;

use super::random;
use crate::gpu::args::{BatchArgs, BatchToneArgs, State};
use crate::gpu::emulator::Emulator;
use crate::gpu::memory::Memory;
use crate::gpu::{Address, Gpu};
use crate::on_device::{Edge, Stretch, Tone, Warp};

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
        for generation in [Generation::Notebook, Generation::Keras3] {
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
    }
}

/// The second batch of three images, of ten.
fn check(memory: &Memory<Emulator>, height: usize, width: usize, augment: &Augment, edge: Edge) {
    const SAMPLES: usize = 10;
    const BATCH: usize = 3;
    let area = height * width;
    let pixels: Vec<u8> = random(SAMPLES * area, 1).iter().map(|v| (v * 60.0 + 128.0) as u8).collect();
    let labels: Vec<u32> = (0..SAMPLES as u32).map(|i| i * i % 7).collect();
    let order: Vec<u32> = (0..SAMPLES as u32).map(|i| (i * 3 + 1) % SAMPLES as u32).collect();
    let rng = |row: u32| Stream { seed: 9, purpose: Purpose::named("augment"), epoch: 4, item: row }.rng();
    let draw = |&row: &u32| augment.draw(&mut rng(row), height, width);
    let warp = |row: &u32| {
        let transform = draw(row);
        let map = augment.map(&transform, height, width);
        let (flip_horizontal, flip_vertical) = (transform.flip_horizontal, transform.flip_vertical);
        Warp { map, flip_horizontal, flip_vertical }
    };
    let tone = |row: &u32| {
        let transform = draw(row);
        let shift = transform.channel_shift_intensity.unwrap_or_default() as f32;
        Tone { shift, brightness: transform.brightness.map(|factor| factor as f32) }
    };
    let warps: Vec<_> = order.iter().map(|row| warp(row).args()).collect();
    let tones: Vec<_> = order.iter().map(|row| tone(row).args()).collect();
    let stretch = match augment.config().generation {
        Generation::Notebook => Stretch::Always,
        Generation::Keras3 => Stretch::OutsideBytes,
    };
    let (fill_mode, fill) = edge.number();
    let images = memory.zeros::<f32>(BATCH * area).unwrap();
    let batch_labels = memory.zeros::<u32>(BATCH).unwrap();
    let args = BatchArgs {
        pixels: memory.holding(&pixels).unwrap(),
        labels: memory.holding(&labels).unwrap(),
        order: memory.holding(&order).unwrap(),
        warps: memory.holding(&warps).unwrap(),
        images,
        batch_labels,
        state: memory.holding(&[State { seed: 0, epoch: 4, step: 1 }]).unwrap(),
        fill,
        fill_mode,
        height: height as u32,
        width: width as u32,
        stride: BATCH as u32,
        unused: 0,
    };
    memory.gpu.launch("batch_u8", [BATCH, area.div_ceil(256)], [256, 1], &args).unwrap();
    let tone_args = BatchToneArgs {
        images,
        tones: memory.holding(&tones).unwrap(),
        state: args.state,
        area: area as u32,
        stride: BATCH as u32,
        stretch: stretch as u32,
        unused: 0,
    };
    memory.gpu.launch("tone_f32", [BATCH, 1], [256, 1], &tone_args).unwrap();
    let found: Vec<f32> = memory.read(images, BATCH * area).unwrap();
    for (place, found) in found.chunks(area).enumerate() {
        let row = order[BATCH + place];
        let mut image: Vec<f32> =
            pixels[row as usize * area..][..area].iter().map(|&v| f32::from(v) / 255.0).collect();
        let view = ArrayViewMut3::from_shape((1, height, width), &mut image).unwrap();
        augment.image(&mut rng(row), view).unwrap();
        for (i, (found, wanted)) in found.iter().zip(&image).enumerate() {
            let at = (i / width, i % width);
            assert!(
                (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                "{edge:?} row {row}, {at:?}: {found}, fer-augment {wanted}"
            );
        }
        assert_eq!(memory.read::<u32>(batch_labels, BATCH).unwrap()[place], labels[row as usize]);
    }

    // Without a plan: the images as they are, in their order.
    let plain = BatchArgs { order: Address::NONE, warps: Address::NONE, ..args };
    memory.gpu.launch("batch_u8", [BATCH, area.div_ceil(256)], [256, 1], &plain).unwrap();
    let found: Vec<f32> = memory.read(images, BATCH * area).unwrap();
    let wanted: Vec<f32> =
        pixels[BATCH * area..][..BATCH * area].iter().map(|&v| f32::from(v) / 255.0).collect();
    assert_eq!(found, wanted);
}
