//! Contrast and offset, within 0..=1.
//!
//! ```text
//! mean  = of the whole image, summed in f64 and then rounded to f32
//! pixel = min(max(((pixel − mean)·contrast + mean) + offset, 0), 1)          each operation rounded to f32
//! ```
//!
//! Without contrast the pixel is `pixel + offset`. No product is fused with a sum, so that every machine, and a card,
//! can give the same numbers but for the mean's last bit.

use pulp::{Simd, WithSimd};

use crate::statistics::mean;

/// Changes contrast and offset, where they are in use, of an image in 0..=1, which it stays in.
pub(crate) fn change(image: &mut [f32], contrast: Option<f64>, offset: Option<f64>) {
    pulp::Arch::new().dispatch(Tone {
        image,
        contrast: contrast.map(|contrast| contrast as f32),
        offset: offset.unwrap_or(0.0) as f32,
    });
}

struct Tone<'a> {
    image: &'a mut [f32],
    contrast: Option<f32>,
    offset: f32,
}

impl WithSimd for Tone<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { image, contrast, offset } = self;
        match contrast {
            Some(contrast) => {
                let mean = mean(image, |pixel| pixel) as f32;
                image
                    .iter_mut()
                    .for_each(|pixel| *pixel = bounded((*pixel - mean) * contrast + mean + offset));
            }
            None => image.iter_mut().for_each(|pixel| *pixel = bounded(*pixel + offset)),
        }
    }
}

/// The value within 0..=1, in one vector instruction a bound.
#[inline(always)]
fn bounded(value: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < 1.0 { value } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn contrast_is_about_the_mean_and_offset_after_it(
            image in prop::collection::vec(0.0_f32..=1.0, 1..300),
            contrast in prop::option::of(0.0..2.0),
            offset in prop::option::of(-0.5..0.5),
        ) {
            let mut found = image.clone();
            change(&mut found, contrast, offset);
            let mean = image.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / image.len() as f64;
            for (found, pixel) in found.into_iter().zip(image) {
                let moved = (f64::from(pixel) - mean) * contrast.unwrap_or(1.0) + mean + offset.unwrap_or(0.0);
                prop_assert!((f64::from(found) - moved.clamp(0.0, 1.0)).abs() < 5e-7);
            }
        }
    }

    #[test]
    fn values_that_are_no_number_do_not_spread_beyond_the_range() {
        let mut image = [f32::NAN, f32::INFINITY, 0.5];
        change(&mut image, None, Some(0.25));
        assert_eq!(image, [0.0, 1.0, 0.75]);
    }
}
