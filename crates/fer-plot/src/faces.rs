//! Faces with their labels.

use image::{Rgb, RgbImage};
use ndarray::{Array3, ArrayView2, ArrayView3};

use crate::{
    Error, Figure, Heat, Result, font, heated,
    shape::{Color, Text},
    theme::{CENTERED, INK, TICK_SIZE, VERMILION},
};

/// The side of a face in the figure: a whole multiple of 48 pixels, also in the PNG.
const FACE: f32 = 96.0;
/// From one face to the next.
const PITCH: f32 = 112.0;
/// The height of a line of text.
const LINE: f32 = 17.0;
/// Around the whole.
const MARGIN: f32 = 14.0;
/// The faces of each class in the sample grid.
const SAMPLES: usize = 7;

/// Seven faces of each class that occurs, a row a class, with the class's name above each.
///
/// As in the notebook one index runs through the whole grid: the first class shows its images 0 to 6, the
/// second its images 7 to 13, and so on. A class with fewer images shows its last seven. Classes are shown
/// in ascending order; the class `c` is named `names[c]`, and `image(i)` is the image whose class is `labels[i]`:
/// `(channels, height, width)`, one channel of grey, or red, green and blue.
///
/// # Errors
/// [`Error::Empty`] without a label, [`Error::Name`] for a class without a name, [`Error::Image`] for an image
/// without pixels or of other than one or three channels.
pub fn sample_grid<'a>(
    labels: &[usize],
    names: &[impl AsRef<str>],
    image: impl Fn(usize) -> ArrayView3<'a, u8>,
) -> Result<Figure> {
    const NAME: &str = "sample_grid";
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        return Err(Error::Empty { figure: NAME, missing: "images" });
    }
    let mut figure = grid(SAMPLES, classes.len(), 1, 1, PITCH);
    for (row, &class) in classes.iter().enumerate() {
        let name = names.get(class).ok_or(Error::Name { figure: NAME, class, names: names.len() })?;
        let caption = [(name.as_ref(), INK)];
        let of_class = labels.iter().enumerate().filter(|&(_, &label)| label == class);
        let first = (row * SAMPLES).min(of_class.clone().count().saturating_sub(SAMPLES));
        for (column, (index, _)) in of_class.skip(first).take(SAMPLES).enumerate() {
            let pixels = checked(NAME, index, image(index))?;
            face(&mut figure, (column, row), PITCH, &caption, &[pixels]);
        }
    }
    Ok(figure)
}

/// A face with its true and its predicted class.
#[derive(Clone, Copy, Debug)]
pub struct Prediction<'a> {
    /// The image, `(channels, height, width)`: one channel of grey, or red, green and blue.
    pub image: ArrayView3<'a, u8>,
    /// The name of the true class.
    pub truth: &'a str,
    /// The name of the predicted class.
    pub predicted: &'a str,
}

/// Faces with their true and their predicted class above each, `columns` side by side (nine in the notebook).
/// Wrong predictions stand in colour, and the face in a frame.
///
/// # Errors
/// [`Error::Empty`] without a prediction or a column, [`Error::Image`] for an image without pixels.
pub fn sample_predictions(predictions: &[Prediction<'_>], columns: usize) -> Result<Figure> {
    const NAME: &str = "sample_predictions";
    if predictions.is_empty() || columns == 0 {
        let missing = if columns == 0 { "columns" } else { "predictions" };
        return Err(Error::Empty { figure: NAME, missing });
    }
    let captions: Vec<[String; 2]> = predictions
        .iter()
        .map(|p| [format!("true: {}", p.truth), format!("pred: {}", p.predicted)])
        .collect();
    let widest = captions.iter().flatten().map(|text| font::width(text, TICK_SIZE)).fold(0.0, f32::max);
    let pitch = (widest + 12.0).clamp(PITCH, 1.5 * PITCH);
    let mut figure = grid(columns.min(predictions.len()), predictions.len().div_ceil(columns), 2, 1, pitch);
    for (index, (prediction, [truth, predicted])) in predictions.iter().zip(&captions).enumerate() {
        let pixels = checked(NAME, index, prediction.image)?;
        let wrong = prediction.truth != prediction.predicted;
        let captions = [(truth.as_str(), INK), (predicted.as_str(), if wrong { VERMILION } else { INK })];
        let (x, y) = face(&mut figure, (index % columns, index / columns), pitch, &captions, &[pixels]);
        if wrong {
            let (near, far) = (-2.0, FACE + 2.0);
            let corners = [(near, near), (far, near), (far, far), (near, far), (near, near)];
            figure.line(corners.map(|(dx, dy)| (x + dx, y + dy)), 4.0, VERMILION);
        }
    }
    Ok(figure)
}

/// A face with what was said of it and where the network looked.
#[derive(Clone, Copy, Debug)]
pub struct ExplainedFace<'a> {
    /// The face and its classes.
    pub prediction: Prediction<'a>,
    /// The probability of the predicted class.
    pub probability: f32,
    /// Rows of numbers over the whole image, 0 to 1: what speaks for the predicted class.
    pub map: ArrayView2<'a, f32>,
}

/// Faces with their true class and what was predicted how surely above each, and below each the same face tinted where it speaks
/// for that, `columns` side by side.
///
/// # Errors
/// As [`sample_predictions`].
pub fn explained_faces(faces: &[ExplainedFace<'_>], columns: usize) -> Result<Figure> {
    const NAME: &str = "explained_faces";
    if faces.is_empty() || columns == 0 {
        let missing = if columns == 0 { "columns" } else { "faces" };
        return Err(Error::Empty { figure: NAME, missing });
    }
    let pitch = 1.25 * PITCH;
    let mut figure = grid(columns.min(faces.len()), faces.len().div_ceil(columns), 2, 2, pitch);
    for (index, explained) in faces.iter().enumerate() {
        let Prediction { image, truth, predicted } = explained.prediction;
        let said = format!("{predicted} {:.0} %", explained.probability * 100.0);
        let color = if truth == predicted { INK } else { VERMILION };
        let lines = [(&*format!("true: {truth}"), INK), (said.as_str(), color)];
        let pixels = checked(NAME, index, image)?;
        let tinted = tinted(pixels, explained.map);
        let place = (index % columns, index / columns);
        face(&mut figure, place, pitch, &lines, &[pixels, tinted.view()]);
    }
    Ok(figure)
}

/// An image magnified, with the map over it.
fn tinted(image: ArrayView3<'_, u8>, map: ArrayView2<'_, f32>) -> Array3<u8> {
    const LARGER: usize = 4;
    let (channels, height, width) = image.dim();
    let [wide, high] = [width, height].map(|length| (length * LARGER) as u32);
    let photo = RgbImage::from_fn(wide, high, |x, y| {
        let [x, y] = [x, y].map(|place| place as usize / LARGER);
        Rgb([0, 1, 2].map(|channel: usize| image[(channel.min(channels - 1), y, x)]))
    });
    let size = [wide as f32, high as f32];
    let photo = heated(&photo, &[Heat { center: size.map(|length| length / 2.0), size, roll: 0.0, map }]);
    Array3::from_shape_fn((3, high as usize, wide as usize), |(channel, y, x)| {
        photo.get_pixel(x as u32, y as u32)[channel]
    })
}

/// An empty figure with room for faces under so many lines of text each, each in so many images one below the other.
fn grid(columns: usize, rows: usize, lines: usize, images: usize, pitch: f32) -> Figure {
    let height = LINE * lines as f32 + PITCH * images as f32;
    // The last row needs no room to a next one.
    Figure::new(2.0 * MARGIN + pitch * columns as f32, MARGIN + height * rows as f32)
}

/// Draws the images of a face under its lines of text and returns the upper left corner of the first.
fn face(
    figure: &mut Figure,
    (column, row): (usize, usize),
    pitch: f32,
    lines: &[(&str, Color)],
    images: &[ArrayView3<'_, u8>],
) -> (f32, f32) {
    let text_height = LINE * lines.len() as f32;
    let center = MARGIN + pitch * (column as f32 + 0.5);
    let top = MARGIN + (text_height + PITCH * images.len() as f32) * row as f32;
    for (index, &(text, color)) in lines.iter().enumerate() {
        let place = (center, top + LINE * (index as f32 + 0.5));
        figure.text(&font::shorten(text, TICK_SIZE, pitch - 8.0), place, &Text { color, ..CENTERED });
    }
    // Whole pixels: the magnified image then fits those of the PNG exactly.
    let corner = ((center - FACE / 2.0).round(), (top + text_height + 6.0).round());
    for (index, pixels) in images.iter().enumerate() {
        figure.image(*pixels, (corner.0, corner.1 + PITCH * index as f32), FACE);
    }
    corner
}

fn checked<'a>(figure: &'static str, index: usize, image: ArrayView3<'a, u8>) -> Result<ArrayView3<'a, u8>> {
    let (channels, height, width) = image.dim();
    match !image.is_empty() && matches!(channels, 1 | 3) {
        true => Ok(image),
        false => Err(Error::Image { figure, index, channels, height, width }),
    }
}
