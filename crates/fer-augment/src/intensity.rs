//! Flips, channel shift and brightness, in the arithmetic of each generation.

use crate::{Error, Generation, Result};

/// Mirrors left and right; rows have `width` pixels.
pub(crate) fn flip_horizontal(image: &mut [f32], width: usize) {
    image.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// Mirrors one (height, `width`) plane top and bottom.
pub(crate) fn flip_vertical(plane: &mut [f32], width: usize) {
    let half = plane.len() / width / 2 * width;
    let (top, rest) = plane.split_at_mut(half);
    for (above, below) in top.chunks_exact_mut(width).zip(rest.rchunks_exact_mut(width)) {
        above.swap_with_slice(below);
    }
}

/// Adds `intensity` to every pixel, within the minimum and maximum that the image had.
pub(crate) fn shift(image: &mut [f32], intensity: f32) {
    let (low, high) = extremes(image);
    image.iter_mut().for_each(|pixel| *pixel = (*pixel + intensity).max(low).min(high));
}

/// Whether Keras' brightness is defined for this many channels: grey, RGB or RGBA.
pub(crate) fn check_brightness(channels: usize, generation: Generation) -> Result<()> {
    match channels {
        _ if generation == Generation::Plain => Ok(()),
        1 | 3 | 4 => Ok(()),
        found => Err(Error::Channels { what: "brightness", expected: "1, 3 or 4".into(), found }),
    }
}

/// Scales the brightness as Keras does it by way of an 8-bit PIL image: to whole numbers, rounded down, in
/// 0..=255. The fourth of four channels is opacity and keeps its value.
///
/// Source: keras-preprocessing `apply_brightness_shift` and `array_to_img`; Pillow `ImageEnhance.Brightness`
/// and `Blend.c`.
///
/// [`Generation::Plain`] multiplies and keeps the pixels in 0..=1.
pub(crate) fn brighten(image: &mut [f32], channels: usize, factor: f32, generation: Generation) {
    if generation == Generation::Plain {
        return image.iter_mut().for_each(|pixel| *pixel = (*pixel * factor).clamp(0.0, 1.0));
    }
    let (low, high) = extremes(image);
    let stretch = generation == Generation::Keras2 || low < 0.0 || high > 255.0;
    let range = high - low;
    let to_byte = |pixel: f32| match stretch {
        true if range != 0.0 => truncate((pixel - low) / range * 255.0),
        true => 0.0,
        false => truncate(pixel),
    };
    let plane = image.len() / channels;
    let (colour, opacity) = image.split_at_mut(plane * channels.min(3));
    opacity.iter_mut().for_each(|pixel| *pixel = to_byte(*pixel));
    colour.iter_mut().for_each(|pixel| *pixel = truncate(to_byte(*pixel) * factor));
    if stretch && generation == Generation::Keras3 {
        image.iter_mut().for_each(|pixel| *pixel = *pixel / 255.0 * range + low);
    }
}

/// The whole part as a byte, at most 255: Pillow's conversion, and quicker than a call to `trunc`.
fn truncate(value: f32) -> f32 {
    f32::from(value as u8)
}

fn extremes(image: &[f32]) -> (f32, f32) {
    let start = (f32::INFINITY, f32::NEG_INFINITY);
    image.iter().fold(start, |(low, high), &pixel| (low.min(pixel), high.max(pixel)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_undo_themselves_and_the_middle_row_stays() {
        let image: Vec<f32> = (0..15).map(|i| i as f32).collect();
        let mut flipped = image.clone();
        flip_vertical(&mut flipped, 3);
        assert_eq!(flipped, [12., 13., 14., 9., 10., 11., 6., 7., 8., 3., 4., 5., 0., 1., 2.]);
        flip_vertical(&mut flipped, 3);
        flip_horizontal(&mut flipped, 5);
        assert_eq!(flipped, [4., 3., 2., 1., 0., 9., 8., 7., 6., 5., 14., 13., 12., 11., 10.]);
        flip_horizontal(&mut flipped, 5);
        assert_eq!(flipped, image);
    }

    #[test]
    fn a_channel_shift_stays_within_the_images_own_range() {
        let mut image = [0.2, 0.5, 0.8];
        shift(&mut image, 0.25);
        assert_eq!(image, [0.45, 0.75, 0.8]);
    }

    #[test]
    fn brightness_leaves_0_to_255_in_keras_2_and_zeros_and_ones_in_keras_3() {
        let (mut keras2, mut keras3) = ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]);
        brighten(&mut keras2, 1, 0.5, Generation::Keras2);
        brighten(&mut keras3, 1, 1.0, Generation::Keras3);
        assert_eq!((keras2, keras3), ([0.0, 63.0, 127.0], [0.0, 0.0, 1.0]));
    }

    #[test]
    fn plain_brightness_keeps_the_range_of_any_number_of_channels() {
        let mut image = [0.0, 0.3, 0.9, 1.0];
        brighten(&mut image, 2, 1.2, Generation::Plain);
        assert_eq!(image, [0.0, 0.3 * 1.2, 1.0, 1.0]);
        assert!(check_brightness(2, Generation::Plain).is_ok());
        assert!(check_brightness(2, Generation::Keras3).is_err());
    }

    #[test]
    fn an_image_without_contrast_turns_black_in_keras_2() {
        let mut image = [0.7; 4];
        brighten(&mut image, 1, 1.5, Generation::Keras2);
        assert_eq!(image, [0.0; 4]);
    }
}
