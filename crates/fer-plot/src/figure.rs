//! A figure: the list of shapes that both its SVG and its PNG are made of.

use std::path::{Path as FilePath, PathBuf};

use ndarray::{Array2, ArrayView2};
use plotters::style::{
    RGBColor,
    text_anchor::{HPos, VPos},
};
use tiny_skia::{Path, PathBuilder, Rect, Transform};

use crate::{Error, Result, font, png, svg};

/// A figure, ready to be written as SVG and PNG. Both show the same; text is drawn as outlines of an embedded
/// font.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let figure = fer_plot::class_counts(&[("happy", 8989), ("sad", 6077), ("neutral", 6198)])?;
/// assert!(figure.to_svg()?.starts_with("<svg"));
/// assert!(figure.to_png()?.starts_with(b"\x89PNG"));
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// figure.save(folder.join("class_counts"))?; // class_counts.svg and class_counts.png
/// # assert!(folder.join("class_counts.svg").exists() && folder.join("class_counts.png").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    width: u32,
    height: u32,
    pub(crate) shapes: Vec<Shape>,
}

/// What a figure is made of. Coordinates and sizes are in pixels of the figure, y down.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// The inside of a path, by the non-zero rule; the label is the text that the path spells.
    Fill { path: Path, color: RGBColor, label: Option<String> },
    /// A line along a path, with round ends and joins.
    Stroke { path: Path, color: RGBColor, width: f32 },
    /// A grey image over a rectangle.
    Image { pixels: Array2<u8>, frame: Rect },
}

/// How a line of text looks, and which of its points is where it is put.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub size: f32,
    pub color: RGBColor,
    pub horizontal: HPos,
    pub vertical: VPos,
    /// Degrees, clockwise.
    pub angle: f32,
}

impl Figure {
    /// PNG pixels to a pixel of the figure: sharp on screens of high density.
    pub(crate) const PNG_SCALE: u32 = 2;

    pub(crate) fn new(width: f32, height: f32) -> Self {
        Self { width: width.ceil() as u32, height: height.ceil() as u32, shapes: Vec::new() }
    }

    /// The width in pixels at which the figure is meant to be shown, that of the SVG; the PNG has twice as many.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels at which the figure is meant to be shown, that of the SVG; the PNG has twice as many.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The figure as an SVG document.
    pub fn to_svg(&self) -> Result<String> {
        svg::document(self)
    }

    /// The figure as a PNG picture, RGB, twice as many pixels each way as the SVG.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        png::picture(self)
    }

    /// Writes `STEM.svg` and `STEM.png`, each whole or not at all; their folder is made when it is missing.
    pub fn save(&self, stem: impl AsRef<FilePath>) -> Result<()> {
        let write = |extension: &str, bytes: &[u8]| {
            // A dot in the stem is part of it.
            let mut path = stem.as_ref().as_os_str().to_owned();
            path.push(extension);
            let path = PathBuf::from(path);
            fer_files::write(&path, bytes).map_err(|source| Error::Write { path, source })
        };
        write(".svg", self.to_svg()?.as_bytes())?;
        write(".png", &self.to_png()?)
    }

    pub(crate) fn fill(&mut self, path: Option<Path>, color: RGBColor) {
        self.shapes.extend(path.map(|path| Shape::Fill { path, color, label: None }));
    }

    pub(crate) fn rect(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), color: RGBColor) {
        self.fill(Rect::from_xywh(x, y, width, height).map(PathBuilder::from_rect), color);
    }

    /// A line through the points; closed when the first is also the last.
    pub(crate) fn line(&mut self, points: &[(f32, f32)], width: f32, color: RGBColor) {
        self.shapes.extend(polygon(points).map(|path| Shape::Stroke { path, color, width }));
    }

    pub(crate) fn text(&mut self, text: &str, (x, y): (f32, f32), style: &Text) {
        let dx = match style.horizontal {
            HPos::Left => 0.0,
            HPos::Center => -font::width(text, style.size) / 2.0,
            HPos::Right => -font::width(text, style.size),
        };
        let dy = style.size
            * match style.vertical {
                VPos::Top => font::ASCENT,
                VPos::Center => font::CAPITAL / 2.0,
                VPos::Bottom => -font::DESCENT,
            };
        let place = Transform::from_translate(dx, dy).post_rotate(style.angle).post_translate(x, y);
        let path = font::outline(text, style.size).and_then(|path| path.transform(place));
        let label = Some(text.to_owned());
        self.shapes.extend(path.map(|path| Shape::Fill { path, color: style.color, label }));
    }

    /// Shows an image as large as it goes, in its proportions, in the middle of a square.
    pub(crate) fn image(&mut self, pixels: ArrayView2<'_, u8>, (x, y): (f32, f32), side: f32) {
        let (rows, columns) = pixels.dim();
        let scale = side / rows.max(columns) as f32;
        let (width, height) = (columns as f32 * scale, rows as f32 * scale);
        let frame = Rect::from_xywh(x + (side - width) / 2.0, y + (side - height) / 2.0, width, height);
        self.shapes.extend(frame.map(|frame| Shape::Image { pixels: pixels.to_owned(), frame }));
    }
}

/// The path through the points.
pub(crate) fn polygon(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        match index {
            0 => path.move_to(x, y),
            _ => path.line_to(x, y),
        }
    }
    if points.len() > 1 && points.first() == points.last() {
        path.close();
    }
    path.finish()
}
