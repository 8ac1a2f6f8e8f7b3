//! The embedded font. Text becomes outlines, so that a figure looks the same on every machine, whatever fonts
//! it has and whatever program shows it.

use std::sync::LazyLock;

use tiny_skia::{Path, PathBuilder, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Open Sans Regular: Latin, Greek and Cyrillic.
static FACE: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../fonts/OpenSans-Regular.ttf"), 0).ok());

/// The height of capitals and digits over the font size.
pub(crate) const CAPITAL: f32 = 0.714;
/// The height above the baseline that a line of text takes, over the font size.
pub(crate) const ASCENT: f32 = 0.95;
/// The depth below the baseline that a line of text takes, over the font size.
pub(crate) const DESCENT: f32 = 0.25;

/// The glyphs of a line with their distance from its start in font units, and the line's whole width.
fn layout(face: &Face<'_>, text: &str) -> (Vec<(GlyphId, f32)>, f32) {
    let mut pen = 0.0;
    let glyphs = text.chars().map(|character| {
        // Glyph 0 is the box that stands for characters the font does not have.
        let glyph = face.glyph_index(character).unwrap_or_default();
        let start = pen;
        pen += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0));
        (glyph, start)
    });
    (glyphs.collect(), pen)
}

/// The width of a line of text at this font size, in the unit of the size.
pub(crate) fn width(text: &str, size: f32) -> f32 {
    let Some(face) = FACE.as_ref() else { return 0.0 };
    layout(face, text).1 * size / f32::from(face.units_per_em())
}

/// The text, cut and ended by an ellipsis where it is wider than allowed.
pub(crate) fn shorten(text: &str, size: f32, allowed: f32) -> String {
    if width(text, size) <= allowed {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    let cut = |kept: usize| characters[..kept].iter().collect::<String>().trim_end().to_owned() + "…";
    let kept = (0..characters.len()).rev().find(|&kept| width(&cut(kept), size) <= allowed);
    cut(kept.unwrap_or(0))
}

/// The outlines of a line of text whose baseline starts at the origin; `None` when nothing is to be seen.
pub(crate) fn outline(text: &str, size: f32) -> Option<Path> {
    let face = FACE.as_ref()?;
    let scale = size / f32::from(face.units_per_em());
    let mut pen = Pen { path: PathBuilder::new(), start: 0.0 };
    for (glyph, start) in layout(face, text).0 {
        pen.start = start;
        face.outline_glyph(glyph, &mut pen);
    }
    // The y axis of fonts points up, that of figures down.
    pen.path.finish()?.transform(Transform::from_scale(scale, -scale))
}

struct Pen {
    path: PathBuilder,
    start: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.start + x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.start + x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.start + x1, y1, self.start + x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.start + x1, y1, self.start + x2, y2, self.start + x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_wide_and_as_high_as_the_font_says() {
        // Digits of Open Sans are 1171 of 2048 units wide; capitals are 1462 high.
        assert_eq!(width("0000", 2048.0), 4.0 * 1171.0);
        let bounds = outline("H", 2048.0).unwrap().bounds();
        assert_eq!((bounds.bottom(), bounds.top()), (0.0, -1462.0));
        assert!((CAPITAL - 1462.0 / 2048.0).abs() < 1e-3);
    }

    #[test]
    fn names_of_many_languages_have_glyphs() {
        let face = FACE.as_ref().unwrap();
        for character in "Überraschung, Zdziwienie, радость, λύπη, vui vẻ – 99 %…".chars() {
            assert!(face.glyph_index(character).is_some(), "{character}");
        }
        assert!(outline("喜", 10.0).is_some(), "a box stands for what the font lacks");
        assert!(outline(" ", 10.0).is_none() && outline("", 10.0).is_none());
    }

    #[test]
    fn long_names_are_cut_to_fit() {
        let cut = shorten("a name that is far too long", 10.0, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0) <= 60.0 && cut.len() > 6, "{cut}");
        assert_eq!(shorten("happy", 10.0, 60.0), "happy");
        assert_eq!(shorten("happy", 10.0, 0.0), "…");
    }
}
