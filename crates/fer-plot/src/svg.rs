//! Shapes as an SVG document: paths and embedded images alone, so that every viewer shows the same.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use tiny_skia::{Path, PathSegment, Point};

use crate::{
    Result, png,
    shape::{Color, Shape},
};

pub(crate) fn document((width, height): (u32, u32), shapes: &[Shape]) -> Result<String> {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <path fill=\"#ffffff\" d=\"M0 0H{width}V{height}H0Z\"/>\n"
    );
    for shape in shapes {
        svg += &match shape {
            Shape::Fill { path, color, label } => {
                let label = label.as_deref().map(|label| format!(" aria-label=\"{}\"", escape(label)));
                let label = label.unwrap_or_default();
                format!("<path fill=\"{}\"{label} d=\"{}\"/>\n", hex(*color), data(path))
            }
            Shape::Stroke { path, color, width } => format!(
                "<path fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linecap=\"round\" \
                 stroke-linejoin=\"round\" d=\"{}\"/>\n",
                hex(*color),
                number(*width),
                data(path)
            ),
            Shape::Image { pixels, frame } => format!(
                "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" xlink:href=\"data:image/png;base64,{}\"/>\n",
                number(frame.x()),
                number(frame.y()),
                number(frame.width()),
                number(frame.height()),
                BASE64_STANDARD.encode(png::embedded(&png::magnified(pixels, *frame))?)
            ),
        };
    }
    Ok(svg + "</svg>\n")
}

fn hex(Color(red, green, blue): Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A hundredth of a pixel is finer than anything a screen shows.
fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

fn data(path: &Path) -> String {
    let mut data = String::new();
    let mut add = |command: char, points: &[Point]| {
        data.push(command);
        for (index, point) in points.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            // Writing to a string does not fail.
            let _ = write!(data, "{space}{} {}", number(point.x), number(point.y));
        }
    };
    for segment in path.segments() {
        match segment {
            PathSegment::MoveTo(to) => add('M', &[to]),
            PathSegment::LineTo(to) => add('L', &[to]),
            PathSegment::QuadTo(by, to) => add('Q', &[by, to]),
            PathSegment::CubicTo(by, and, to) => add('C', &[by, and, to]),
            PathSegment::Close => add('Z', &[]),
        }
    }
    data
}

fn escape(text: &str) -> String {
    // Control characters have no place in XML, not even escaped.
    let plain: String = text.chars().filter(|character| !character.is_control()).collect();
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_no_negative_zero() {
        assert_eq!([1.0, 1.5, -0.001, 0.126, -2.25].map(number), ["1", "1.5", "0", "0.13", "-2.25"]);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a<b> & \"c\"\n"), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
