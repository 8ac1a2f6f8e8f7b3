//! A photo with a box around each face and bars of what it shows.

use image::RgbImage;
use tiny_skia::{FillRule, IntSize, LineJoin, Paint, PathBuilder, Pixmap, Rect, Stroke, Transform};

use crate::font;
use crate::shape::Color;
use crate::theme::{BLUE, INK, ORANGE, PAPER, VERMILION};

/// What is drawn at a face.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation<'a> {
    /// Left, top, width and height of the box, in the photo's pixels.
    pub bounds: [f32; 4],
    /// What is written above the box.
    pub title: String,
    /// Names with their parts, 0 to 1, drawn as bars beside the box from top to bottom; the largest stands out.
    pub bars: Vec<(&'a str, f32)>,
}

/// Colours of boxes, in turn, for faces side by side.
const BOXES: [Color; 3] = [ORANGE, BLUE, VERMILION];

/// The photo with these annotations on it. Text is sized by the photo, so that it reads the same in a large and a small one.
///
/// ```
/// use fer_plot::Annotation;
///
/// let photo = image::RgbImage::from_pixel(320, 240, image::Rgb([90, 110, 130]));
/// let face = Annotation { bounds: [100.0, 60.0, 80.0, 100.0], title: "happy 93 %".into(), bars: vec![("happy", 0.93)] };
/// let drawn = fer_plot::annotated(&photo, &[face]);
/// assert_eq!(drawn.dimensions(), photo.dimensions());
/// assert_ne!(drawn, photo);
/// ```
pub fn annotated(photo: &RgbImage, faces: &[Annotation<'_>]) -> RgbImage {
    let (width, height) = photo.dimensions();
    let mut rgba = vec![255; width as usize * height as usize * 4];
    for (to, from) in rgba.chunks_exact_mut(4).zip(photo.chunks_exact(3)) {
        to[..3].copy_from_slice(from);
    }
    let size = IntSize::from_wh(width, height);
    let Some(pixmap) = size.and_then(|size| Pixmap::from_vec(rgba, size)) else { return photo.clone() };
    let taken = faces.iter().map(|face| face.bounds).collect();
    let mut canvas = Canvas { pixmap, text: (width.max(height) as f32 / 48.0).max(11.0), taken };
    for (face, color) in faces.iter().zip(BOXES.into_iter().cycle()) {
        canvas.outline(face.bounds, color);
    }
    for (face, color) in faces.iter().zip(BOXES.into_iter().cycle()) {
        canvas.title(face, color);
        canvas.bars(face, color);
    }
    let mut drawn = RgbImage::new(width, height);
    for (to, from) in drawn.chunks_exact_mut(3).zip(canvas.pixmap.data().chunks_exact(4)) {
        to.copy_from_slice(&from[..3]);
    }
    drawn
}

struct Canvas {
    pixmap: Pixmap,
    /// The font size.
    text: f32,
    /// Rectangles that bars should not cover.
    taken: Vec<[f32; 4]>,
}

impl Canvas {
    fn width(&self) -> f32 {
        self.pixmap.width() as f32
    }

    fn height(&self) -> f32 {
        self.pixmap.height() as f32
    }

    fn outline(&mut self, [x, y, width, height]: [f32; 4], color: Color) {
        let Some(rect) = Rect::from_xywh(x, y, width, height) else { return };
        let line_join = LineJoin::Round;
        let stroke = Stroke { width: (self.text / 6.0).max(2.0), line_join, ..Stroke::default() };
        let path = PathBuilder::from_rect(rect);
        self.pixmap.stroke_path(&path, &paint(color, 255), &stroke, Transform::identity(), None);
    }

    fn rect(&mut self, [x, y, width, height]: [f32; 4], paint: &Paint<'_>) {
        if let Some(rect) = Rect::from_xywh(x, y, width, height) {
            self.pixmap.fill_rect(rect, paint, Transform::identity(), None);
        }
    }

    /// A line of text whose left end is at `x` and whose capitals are centred on `y`.
    fn write(&mut self, text: &str, x: f32, y: f32, color: Color) {
        let place = Transform::from_translate(x, y + self.text * font::CAPITAL / 2.0);
        let path = font::outline(text, self.text).and_then(|path| path.transform(place));
        if let Some(path) = path {
            let (paint, rule) = (paint(color, 255), FillRule::Winding);
            self.pixmap.fill_path(&path, &paint, rule, Transform::identity(), None);
        }
    }

    /// The title on a strip of the box's colour: above the box, or inside its upper edge where there is no room.
    fn title(&mut self, face: &Annotation<'_>, color: Color) {
        if face.title.is_empty() {
            return;
        }
        let [x, y, ..] = face.bounds;
        let (width, height) = (font::width(&face.title, self.text) + self.text, self.text * 1.5);
        let left = x.min(self.width() - width).max(0.0);
        let top = if y >= height { y - height } else { y.max(0.0) };
        self.rect([left, top, width, height], &paint(color, 255));
        let written = if color == ORANGE { INK } else { PAPER };
        self.write(&face.title, left + self.text / 2.0, top + height / 2.0, written);
    }

    /// Where a panel of this size goes: beside the box, below or above it, where it covers no face and no other panel; else to its
    /// right as far as the photo goes.
    fn room(&self, [x, y, width, height]: [f32; 4], (wide, high): (f32, f32), gap: f32) -> [f32; 4] {
        let (most_x, most_y) = ((self.width() - wide).max(0.0), (self.height() - high).max(0.0));
        let along = (x.clamp(0.0, most_x), y.clamp(0.0, most_y));
        let places = [
            (x + width + gap, along.1),
            (x - gap - wide, along.1),
            (along.0, y + height + gap),
            (along.0, y - gap - high - self.text * 1.5),
        ];
        let free = places.into_iter().find(|&(x, y)| {
            let inside = (0.0..=most_x).contains(&x) && (0.0..=most_y).contains(&y);
            inside && !self.taken.iter().any(|&other| meet([x, y, wide, high], other))
        });
        let (x, y) = free.unwrap_or((places[0].0.clamp(0.0, most_x), along.1));
        [x, y, wide, high]
    }

    /// The bars on a light ground beside the box.
    fn bars(&mut self, face: &Annotation<'_>, color: Color) {
        if face.bars.is_empty() {
            return;
        }
        let (line, gap) = (self.text * 1.3, self.text * 0.5);
        let names = face.bars.iter().map(|(name, _)| font::width(name, self.text)).fold(0.0, f32::max);
        let (bar, digits) = (self.text * 5.0, font::width("100 %", self.text));
        let width = names + bar + digits + 4.0 * gap;
        let height = face.bars.len() as f32 * line + gap;
        let panel = self.room(face.bounds, (width, height), gap);
        let [left, top, ..] = panel;
        self.taken.push(panel);
        self.rect(panel, &paint(PAPER, 215));
        let largest = face.bars.iter().map(|&(_, part)| part).fold(0.0, f32::max);
        for (index, &(name, part)) in face.bars.iter().enumerate() {
            let middle = top + gap / 2.0 + line * (index as f32 + 0.5);
            self.write(name, left + gap, middle, INK);
            let start = left + names + 2.0 * gap;
            let length = (bar * part.clamp(0.0, 1.0)).max(1.0);
            let shade = if part == largest { paint(color, 255) } else { paint(INK, 110) };
            self.rect([start, middle - line * 0.3, length, line * 0.6], &shade);
            self.write(&format!("{:.0} %", part * 100.0), start + bar + gap, middle, INK);
        }
    }
}

/// Whether two rectangles share any of their area.
fn meet([x, y, width, height]: [f32; 4], [ox, oy, other_width, other_height]: [f32; 4]) -> bool {
    x < ox + other_width && ox < x + width && y < oy + other_height && oy < y + height
}

fn paint(Color(red, green, blue): Color, alpha: u8) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, alpha);
    paint
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_box_over_the_edge_and_an_empty_photo_are_drawn() {
        let face = Annotation {
            bounds: [-20.0, -10.0, 500.0, 400.0],
            title: "surprise".into(),
            bars: vec![("surprise", 1.5), ("neutral", f32::NAN)],
        };
        let photo = RgbImage::from_pixel(64, 40, Rgb([1, 2, 3]));
        assert_eq!(annotated(&photo, &[face.clone(), face.clone()]).dimensions(), (64, 40));
        assert_eq!(annotated(&RgbImage::new(0, 0), &[face]).dimensions(), (0, 0));
        assert_eq!(annotated(&photo, &[]), photo);
    }
}
