//! Shapes as a PNG picture.

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use ndarray::{Array3, ArrayView1, Axis};
use tiny_skia::{
    FillRule, FilterQuality, IntSize, LineCap, LineJoin, Paint, Pixmap, PixmapPaint, Rect, Stroke, Transform,
};

use crate::{
    Error, Result,
    shape::{Color, Shape},
};

/// Pixels of the picture to one of the figure: sharp on screens of high density.
const SCALE: u32 = 2;

/// Half a gigabyte while it is drawn.
const MOST_PIXELS: u64 = 1 << 27;

/// The shapes of a figure of this size.
pub(crate) fn picture((width, height): (u32, u32), shapes: &[Shape]) -> Result<Vec<u8>> {
    let [width, height] = [width, height].map(|side| side.saturating_mul(SCALE));
    let too_large = || Error::Size { width, height };
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(too_large());
    }
    let mut canvas = Pixmap::new(width, height).ok_or_else(too_large)?;
    canvas.fill(tiny_skia::Color::WHITE);
    let scale = SCALE as f32;
    let zoom = Transform::from_scale(scale, scale);
    for shape in shapes {
        match shape {
            Shape::Fill { path, color, .. } => {
                canvas.fill_path(path, &paint(*color), FillRule::Winding, zoom, None);
            }
            Shape::Stroke { path, color, width } => {
                let (line_cap, line_join) = (LineCap::Round, LineJoin::Round);
                let stroke = Stroke { width: *width, line_cap, line_join, ..Stroke::default() };
                canvas.stroke_path(path, &paint(*color), &stroke, zoom, None);
            }
            Shape::Image { pixels, frame } => {
                draw_image(&mut canvas, &magnified(pixels, *frame), *frame, zoom)
            }
        }
    }
    let rgb: Vec<u8> =
        canvas.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    encode(&rgb, (width, height), ExtendedColorType::Rgb8)
}

fn paint(Color(red, green, blue): Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

fn draw_image(canvas: &mut Pixmap, pixels: &Array3<u8>, frame: Rect, zoom: Transform) {
    let (channels, rows, columns) = pixels.dim();
    let rgb = |pixel: ArrayView1<'_, u8>| [0, 1, 2].map(|channel| pixel[channel % channels]);
    let rgba = pixels.lanes(Axis(0)).into_iter().map(rgb).flat_map(|[r, g, b]| [r, g, b, 255]).collect();
    let size = IntSize::from_wh(columns as u32, rows as u32);
    let Some(image) = size.and_then(|size| Pixmap::from_vec(rgba, size)) else { return };
    let place = zoom
        .pre_translate(frame.x(), frame.y())
        .pre_scale(frame.width() / columns as f32, frame.height() / rows as f32);
    let paint = PixmapPaint { quality: FilterQuality::Bilinear, ..PixmapPaint::default() };
    canvas.draw_pixmap(0, 0, image.as_ref(), &paint, place, None);
}

/// The image with each pixel repeated until it is about as large as the PNG shows it. In the SVG too: viewers
/// smooth small images each in its own way, and leave large ones as they are.
pub(crate) fn magnified(pixels: &Array3<u8>, frame: Rect) -> Array3<u8> {
    let (channels, rows, columns) = pixels.dim();
    let shown = frame.width() * SCALE as f32;
    let factor = ((shown / columns as f32).round() as usize).max(1);
    Array3::from_shape_fn((channels, rows * factor, columns * factor), |(channel, row, column)| {
        pixels[(channel, row / factor, column / factor)]
    })
}

/// An image as a PNG file, grey or RGB.
pub(crate) fn embedded(pixels: &Array3<u8>) -> Result<Vec<u8>> {
    let (channels, rows, columns) = pixels.dim();
    let bytes: Vec<u8> = pixels.lanes(Axis(0)).into_iter().flatten().copied().collect();
    let color = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    encode(&bytes, (columns as u32, rows as u32), color)
}

fn encode(bytes: &[u8], (width, height): (u32, u32), color: ExtendedColorType) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
        .write_image(bytes, width, height, color)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_larger_than_memory_is_an_error() {
        for side in [100_000, u32::MAX] {
            assert!(matches!(picture((side, side), &[]), Err(Error::Size { .. })));
        }
    }
}
