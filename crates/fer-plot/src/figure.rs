//! A figure: the list of shapes that both its SVG and its PNG are made of.

use std::path::{Path as FilePath, PathBuf};

use ndarray::ArrayView3;
use tiny_skia::{Path, PathBuilder, Rect, Transform};

use crate::{
    Error, Result, font, png,
    shape::{Color, Horizontal, Shape, Text, Vertical, polygon},
    svg,
};

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
    shapes: Vec<Shape>,
}

impl Figure {
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
        svg::document((self.width, self.height), &self.shapes)
    }

    /// The figure as a PNG picture, RGB, twice as many pixels each way as the SVG.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        png::picture((self.width, self.height), &self.shapes)
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

    pub(crate) fn fill(&mut self, path: Option<Path>, color: Color) {
        self.shapes.extend(path.map(|path| Shape::Fill { path, color, label: None }));
    }

    pub(crate) fn rect(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), color: Color) {
        self.fill(Rect::from_xywh(x, y, width, height).map(PathBuilder::from_rect), color);
    }

    /// A line through the points; closed when the first is also the last.
    pub(crate) fn line(&mut self, points: impl IntoIterator<Item = (f32, f32)>, width: f32, color: Color) {
        self.shapes.extend(polygon(points).map(|path| Shape::Stroke { path, color, width }));
    }

    pub(crate) fn text(&mut self, text: &str, (x, y): (f32, f32), style: &Text) {
        let dx = match style.horizontal {
            Horizontal::Left => 0.0,
            Horizontal::Center => -font::width(text, style.size) / 2.0,
            Horizontal::Right => -font::width(text, style.size),
        };
        let dy = style.size
            * match style.vertical {
                Vertical::Top => font::ASCENT,
                Vertical::Center => font::CAPITAL / 2.0,
                Vertical::Bottom => -font::DESCENT,
            };
        let place = Transform::from_translate(dx, dy).post_rotate(style.angle).post_translate(x, y);
        let path = font::outline(text, style.size).and_then(|path| path.transform(place));
        let label = Some(text.to_owned());
        self.shapes.extend(path.map(|path| Shape::Fill { path, color: style.color, label }));
    }

    /// Puts all of another figure here, its upper left corner at a point.
    pub(crate) fn put(&mut self, other: &Self, (x, y): (f32, f32)) {
        self.shapes.extend(other.shapes.iter().filter_map(|shape| shape.moved(x, y)));
    }

    /// Shows an image as large as it goes, in its proportions, in the middle of a square.
    pub(crate) fn image(&mut self, pixels: ArrayView3<'_, u8>, (x, y): (f32, f32), side: f32) {
        let (_, rows, columns) = pixels.dim();
        let scale = side / rows.max(columns) as f32;
        let (width, height) = (columns as f32 * scale, rows as f32 * scale);
        let frame = Rect::from_xywh(x + (side - width) / 2.0, y + (side - height) / 2.0, width, height);
        self.shapes.extend(frame.map(|frame| Shape::Image { pixels: pixels.to_owned(), frame }));
    }
}
