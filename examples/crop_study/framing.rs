//! Where the detector sees eyes and box in FER2013's own pictures.

use fer::data::Dataset;
use fer::detect::{Detector, Framing};
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;

use crate::{Failure, picture};

/// Every so many pictures one is looked at.
const STEP: usize = 10;
/// The side that a picture is enlarged to, and the grey border around it.
const SIDE: u32 = 192;
const BORDER: u32 = 48;

/// Medians over the faces found, as lines of text.
pub fn measure(data: &Dataset) -> Result<String, Failure> {
    let detector = Detector::new()?;
    let rows: Vec<usize> = (0..data.len()).step_by(STEP).collect();
    let found: Vec<Option<[f32; 5]>> = rows
        .par_iter()
        .map(|&row| {
            let face = imageops::resize(&picture(data, row), SIDE, SIDE, imageops::FilterType::Triangle);
            let side = SIDE + 2 * BORDER;
            let mut canvas = RgbImage::from_pixel(side, side, Rgb([127; 3]));
            for (x, y, pixel) in face.enumerate_pixels() {
                canvas.put_pixel(x + BORDER, y + BORDER, Rgb([pixel.0[0]; 3]));
            }
            let faces = detector.detect_rgb(&canvas)?;
            let Some(face) = faces.first() else { return Ok(None) };
            let Some([left, right]) = face.eyes else { return Ok(None) };
            let part = |v: f32| (v - BORDER as f32) / SIDE as f32;
            let (center, size) = (face.bounds.center(), (face.bounds.width * face.bounds.height).sqrt());
            let eyes = ((left.x + right.x) / 2.0, (left.y + right.y) / 2.0);
            Ok(Some([part(center.x), part(center.y), size / SIDE as f32, part(eyes.0), part(eyes.1)]))
        })
        .collect::<Result<_, Failure>>()?;
    let found: Vec<[f32; 5]> = found.into_iter().flatten().collect();
    let Framing { center, size, eyes } = Framing::FER2013;
    let mut text = format!("{} of {} training pictures with a face and eyes\n", found.len(), rows.len());
    text += "of the picture's side: median (middle 80 %), and what Framing::FER2013 has\n";
    let names = [
        ("box, middle, right", center.x),
        ("box, middle, down", center.y),
        ("box, size", size),
        ("eyes, right", eyes.x),
        ("eyes, down", eyes.y),
    ];
    for (k, (name, constant)) in names.into_iter().enumerate() {
        let mut values: Vec<f32> = found.iter().map(|face| face[k]).collect();
        values.sort_by(f32::total_cmp);
        let at = |part: f32| values.get((values.len() as f32 * part) as usize).copied().unwrap_or(f32::NAN);
        let (median, low, high) = (at(0.5), at(0.1), at(0.9));
        text += &format!("{name:<20} {median:.3} ({low:.3} to {high:.3})  {constant}\n");
    }
    Ok(text)
}
