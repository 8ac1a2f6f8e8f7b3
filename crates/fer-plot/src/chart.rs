//! The axes of a chart, and what is drawn between them.

use std::ops::Range;

use crate::{
    Figure, font,
    scale::Scale,
    shape::{Color, Horizontal, Text, Vertical, polygon},
    theme::{CENTERED, FAINT, GRID, NAME_SIZE, TICK_SIZE, TITLE_SIZE},
};

/// The height above the plot that the title and the legend take.
const HEADER: f32 = 44.0;
/// From the axis to its tick's text.
const TICK_GAP: f32 = 8.0;
/// The room that the name of an axis takes beside it.
const NAME_ROOM: f32 = 26.0;
/// The room below.
const FOOTER: f32 = 8.0;
/// The widest that the name of a class may be along an axis.
const WIDEST_NAME: f32 = 150.0;
/// The angle of class names that do not fit side by side.
const SLANT: f32 = -45.0;

/// A horizontal axis with numbers or names along it.
pub(crate) enum Along<'a> {
    /// Numbers.
    Scale(Scale),
    /// Powers of ten, at their exponents.
    Powers(Scale),
    /// Class names at 0, 1, 2 …
    Names(&'a [&'a str]),
}

/// A chart whose axes are drawn, ready for what it shows. Its points are (x, y) in the units of the axes, widths and
/// radii in pixels.
pub(crate) struct Chart<'a> {
    figure: &'a mut Figure,
    /// The left and the right end of the horizontal axis in pixels, and what they stand for.
    x: (Range<f32>, Range<f64>),
    /// The lower and the upper end of the vertical axis.
    y: (Range<f32>, Range<f64>),
}

impl<'a> Chart<'a> {
    /// Draws title, legend and axes, each axis with its name, into the part of the figure from `left` to
    /// `left + width`, over its whole height.
    pub(crate) fn new(
        figure: &'a mut Figure,
        (left, width): (f32, f32),
        title: &str,
        legend: &[(&str, Color)],
        (x_name, along): (&str, Along<'_>),
        (y_name, y_scale): (&str, Scale),
    ) -> Self {
        let (end, foot) = (left + width, figure.height() as f32 - FOOTER);
        let widest = y_scale.texts().map(|(_, text)| font::width(&text, TICK_SIZE)).fold(0.0, f32::max);
        let start = (left + NAME_ROOM + widest + TICK_GAP).min(end - 1.0);
        let x_texts = match &along {
            Along::Scale(_) | Along::Powers(_) => TICK_SIZE * 1.2,
            Along::Names(names) => names_height(names, (end - start) / names.len() as f32),
        };
        let bottom = foot - NAME_ROOM - x_texts - TICK_GAP;

        let heading = Text { size: TITLE_SIZE, horizontal: Horizontal::Left, ..CENTERED };
        figure.text(title, (start, HEADER / 2.0), &heading);
        draw_legend(figure, end, legend);
        let name = Text { size: NAME_SIZE, ..CENTERED };
        figure.text(x_name, ((start + end) / 2.0, foot - NAME_SIZE / 2.0), &name);
        let upwards = Text { angle: -90.0, ..name };
        figure.text(y_name, (left + NAME_SIZE / 2.0, (HEADER + bottom) / 2.0), &upwards);

        let y = (bottom..HEADER, y_scale.range.clone());
        for (tick, text) in y_scale.texts() {
            let at = place(&y, tick);
            figure.line([(start, at), (end, at)], 1.0, GRID);
            figure.line([(start - TICK_GAP / 2.0, at), (start, at)], 1.0, FAINT);
            let beside = Text { horizontal: Horizontal::Right, ..CENTERED };
            figure.text(&text, (start - TICK_GAP, at), &beside);
        }
        let x = match along {
            Along::Scale(scale) => draw_ticks(figure, (start..end, bottom), &scale, scale.texts()),
            Along::Powers(scale) => {
                let texts = scale.ticks.iter().map(|&tick| (tick, format!("1e{tick}")));
                draw_ticks(figure, (start..end, bottom), &scale, texts)
            }
            Along::Names(names) => {
                let slot = (end - start) / names.len() as f32;
                draw_names(figure, (start + slot / 2.0, bottom + TICK_GAP), slot, names);
                (start..end, -0.5..names.len() as f64 - 0.5)
            }
        };
        figure.line([(start, HEADER), (start, bottom), (end, bottom)], 1.0, FAINT);
        Self { figure, x, y }
    }

    /// A line through points.
    pub(crate) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, color: Color, width: f32) {
        let points = points.into_iter().map(|point| self.place(point));
        self.figure.line(points.collect::<Vec<_>>(), width, color);
    }

    /// The inside of a polygon.
    pub(crate) fn area(&mut self, points: impl IntoIterator<Item = (f64, f64)>, color: Color) {
        let path = polygon(points.into_iter().map(|point| self.place(point)));
        self.figure.fill(path, color);
    }

    /// A dot.
    pub(crate) fn dot(&mut self, point: (f64, f64), color: Color, radius: f32) {
        let (x, y) = self.place(point);
        self.figure.fill(tiny_skia::PathBuilder::from_circle(x, y, radius), color);
    }

    /// A text just above a point.
    pub(crate) fn text_above(&mut self, point: (f64, f64), text: &str) {
        let (x, y) = self.place(point);
        self.figure.text(text, (x, y - 11.0), &CENTERED);
    }

    fn place(&self, (x, y): (f64, f64)) -> (f32, f32) {
        (place(&self.x, x), place(&self.y, y))
    }
}

/// Where a value stands along an axis, in pixels.
fn place((pixels, range): &(Range<f32>, Range<f64>), value: f64) -> f32 {
    let part = (value - range.start) / (range.end - range.start);
    pixels.start + part as f32 * (pixels.end - pixels.start)
}

/// Draws the ticks of a horizontal axis of numbers, and gives what its pixels stand for.
fn draw_ticks(
    figure: &mut Figure,
    (pixels, bottom): (Range<f32>, f32),
    scale: &Scale,
    texts: impl Iterator<Item = (f64, String)>,
) -> (Range<f32>, Range<f64>) {
    let x = (pixels, scale.range.clone());
    for (tick, text) in texts {
        let at = place(&x, tick);
        figure.line([(at, bottom), (at, bottom + TICK_GAP / 2.0)], 1.0, FAINT);
        figure.text(&text, (at, bottom + TICK_GAP), &Text { vertical: Vertical::Top, ..CENTERED });
    }
    x
}

/// Names of lines in their colours, on the title's height, ending at `right`.
fn draw_legend(figure: &mut Figure, right: f32, legend: &[(&str, Color)]) {
    let mut x = right;
    for &(name, color) in legend.iter().rev() {
        figure.text(name, (x, HEADER / 2.0), &Text { horizontal: Horizontal::Right, ..CENTERED });
        x -= font::width(name, TICK_SIZE) + 8.0;
        figure.rect((x - 20.0, HEADER / 2.0 - 2.0), (20.0, 4.0), color);
        x -= 40.0;
    }
}

/// The height that class names take along a horizontal axis, each centred in a slot of this width.
pub(crate) fn names_height(names: &[&str], slot: f32) -> f32 {
    let widest = names.iter().map(|name| font::width(name, TICK_SIZE)).fold(0.0, f32::max);
    if widest <= slot - 6.0 {
        return TICK_SIZE * 1.2;
    }
    (widest.min(WIDEST_NAME) + TICK_SIZE) * SLANT.to_radians().sin().abs()
}

/// Writes class names along a horizontal axis: level where they fit, else all slanted.
pub(crate) fn draw_names(figure: &mut Figure, (x, y): (f32, f32), slot: f32, names: &[&str]) {
    let level = names_height(names, slot) == TICK_SIZE * 1.2;
    for (index, name) in names.iter().enumerate() {
        let center = x + slot * index as f32;
        if level {
            figure.text(name, (center, y), &Text { vertical: Vertical::Top, ..CENTERED });
        } else {
            let name = font::shorten(name, TICK_SIZE, WIDEST_NAME);
            let style = Text { horizontal: Horizontal::Right, angle: SLANT, ..CENTERED };
            figure.text(&name, (center + TICK_SIZE / 3.0, y + TICK_SIZE / 3.0), &style);
        }
    }
}
