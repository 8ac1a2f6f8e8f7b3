//! The figure as a backend of plotters, whose charts thereby share the figure's text, SVG and PNG.

use std::convert::Infallible;

use plotters::style::{
    RGBColor,
    text_anchor::{HPos, VPos},
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
};
use tiny_skia::PathBuilder;

use crate::{
    Figure,
    figure::{Text, polygon},
    font,
};

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Units of plotters to a pixel: its coordinates are whole numbers, too coarse for a smooth curve.
pub(crate) const FINE: i32 = 16;

/// Draws what plotters draws onto the figure.
pub(crate) struct Canvas<'a>(pub &'a mut Figure);

/// In units of plotters.
pub(crate) fn fine(pixels: f32) -> i32 {
    (pixels * FINE as f32).round() as i32
}

fn pixels((x, y): BackendCoord) -> (f32, f32) {
    (x as f32 / FINE as f32, y as f32 / FINE as f32)
}

fn rgb(BackendColor { alpha, rgb: (red, green, blue) }: BackendColor) -> RGBColor {
    // Figures are opaque: what is transparent is mixed with the white of the paper.
    let mix = |value: u8| (255.0 + (f64::from(value) - 255.0) * alpha).round() as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.0.width() * FINE as u32, self.0.height() * FINE as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        let side = 1.0 / FINE as f32;
        self.0.rect(pixels(point), (side, side), rgb(color));
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        if fill { self.fill_polygon(corners, style) } else { self.draw_path(corners, style) }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let points: Vec<_> = path.into_iter().map(pixels).collect();
        self.0.line(&points, style.stroke_width() as f32 / FINE as f32, rgb(style.color()));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        _fill: bool,
    ) -> Drawn {
        let (x, y) = pixels(center);
        self.0.fill(PathBuilder::from_circle(x, y, radius as f32 / FINE as f32), rgb(style.color()));
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let points: Vec<_> = path.into_iter().map(pixels).collect();
        self.0.fill(polygon(&points), rgb(style.color()));
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, place: BackendCoord) -> Drawn {
        let anchor = style.anchor();
        let angle = match style.transform() {
            FontTransform::None => 0.0,
            FontTransform::Rotate90 => 90.0,
            FontTransform::Rotate180 => 180.0,
            FontTransform::Rotate270 => 270.0,
        };
        let size = style.size() as f32 / FINE as f32;
        let (horizontal, vertical): (HPos, VPos) = (anchor.h_pos, anchor.v_pos);
        self.0.text(
            text,
            pixels(place),
            &Text { size, color: rgb(style.color()), horizontal, vertical, angle },
        );
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = style.size() as f32;
        Ok((font::width(text, size).ceil() as u32, ((font::ASCENT + font::DESCENT) * size).ceil() as u32))
    }
}
