//! The axes of a chart, drawn by plotters.

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::ranged1d::ValueFormatter,
    drawing::IntoDrawingArea,
    element::{Circle, PathElement, Polygon},
    prelude::Cartesian2d,
    style::{
        Color, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, VPos},
    },
};

use crate::{
    Figure, Result,
    canvas::{Canvas, FINE, fine},
    figure::Text,
    font,
    scale::Scale,
    theme::{CENTERED, FAINT, GRID, INK, NAME_SIZE, TICK_SIZE, TITLE_SIZE},
};

/// The height above the plot that the title and the legend take.
const HEADER: f32 = 44.0;
/// From the axis to its tick's text.
const TICK_GAP: f32 = 8.0;
/// The height that the name of an axis takes.
const NAME_HEIGHT: f32 = 26.0;
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
    /// Class names at 0, 1, 2 …
    Names(&'a [&'a str]),
}

/// A chart whose axes are drawn, ready for what it shows.
pub(crate) struct Chart<'a>(ChartContext<'a, Canvas<'a>, Cartesian2d<Scale, Scale>>);

impl<'a> Chart<'a> {
    /// Draws title, legend and axes, each axis with its name, into the part of the figure from `left` to
    /// `left + width`, over its whole height.
    pub(crate) fn new(
        figure: &'a mut Figure,
        (left, width): (f32, f32),
        title: &str,
        legend: &[(&str, RGBColor)],
        (x_name, along): (&str, Along<'_>),
        (y_name, y): (&str, Scale),
    ) -> Result<Self> {
        let height = figure.height() as f32 - FOOTER;
        let tick_width = |&tick: &f64| font::width(&y.format_ext(&tick), TICK_SIZE);
        let y_area = y.ticks.iter().map(tick_width).fold(0.0, f32::max) + TICK_GAP + NAME_HEIGHT;
        let plot_left = left + y_area;
        let plot_width = (width - y_area).max(1.0);
        let slot = |names: &[&str]| plot_width / names.len() as f32;
        let x_texts = match &along {
            Along::Scale(_) => TICK_SIZE * 1.2,
            Along::Names(names) => names_height(names, slot(names)),
        };
        let x_area = TICK_GAP + x_texts + NAME_HEIGHT;

        let heading = Text { size: TITLE_SIZE, horizontal: HPos::Left, ..CENTERED };
        figure.text(title, (plot_left, HEADER / 2.0), &heading);
        draw_legend(figure, plot_left + plot_width, legend);
        let x = match along {
            Along::Scale(scale) => scale,
            Along::Names(names) => {
                let first = (plot_left + slot(names) / 2.0, height - x_area + TICK_GAP);
                draw_names(figure, first, slot(names), names);
                Scale { range: -0.5..names.len() as f64 - 0.5, ticks: Vec::new() }
            }
        };

        let size = (fine(width) as u32, fine(height - HEADER) as u32);
        let area = Canvas(figure).into_drawing_area().shrink((fine(left), fine(HEADER)), size);
        let mut context = ChartBuilder::on(&area)
            .x_label_area_size(fine(x_area))
            .y_label_area_size(fine(y_area))
            .build_cartesian_2d(x, y)?;
        let text = |size: f32| TextStyle::from(("sans-serif", fine(size)).into_font()).color(&INK);
        context
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(FINE as u32))
            .axis_style(FAINT.stroke_width(FINE as u32))
            .set_all_tick_mark_size(fine(TICK_GAP / 2.0))
            .label_style(text(TICK_SIZE))
            .axis_desc_style(text(NAME_SIZE))
            .x_desc(x_name)
            .y_desc(y_name)
            .draw()?;
        Ok(Self(context))
    }

    /// A line through points of the chart; `width` in pixels.
    pub(crate) fn line(&mut self, points: Vec<(f64, f64)>, color: RGBColor, width: f32) -> Result<()> {
        self.0.draw_series([PathElement::new(points, color.stroke_width(fine(width) as u32))])?;
        Ok(())
    }

    /// The inside of a polygon.
    pub(crate) fn area(&mut self, points: Vec<(f64, f64)>, color: RGBColor) -> Result<()> {
        self.0.draw_series([Polygon::new(points, color)])?;
        Ok(())
    }

    /// A dot; `radius` in pixels.
    pub(crate) fn dot(&mut self, point: (f64, f64), color: RGBColor, radius: f32) -> Result<()> {
        self.0.draw_series([Circle::new(point, fine(radius), color.filled())])?;
        Ok(())
    }

    /// Where a point of the chart is in the figure, in pixels.
    pub(crate) fn place(&self, point: (f64, f64)) -> (f32, f32) {
        let (x, y) = self.0.backend_coord(&point);
        (x as f32 / FINE as f32, y as f32 / FINE as f32)
    }
}

/// Names of lines in their colours, on the title's height, ending at `right`.
fn draw_legend(figure: &mut Figure, right: f32, legend: &[(&str, RGBColor)]) {
    let mut x = right;
    for &(name, color) in legend.iter().rev() {
        figure.text(name, (x, HEADER / 2.0), &Text { horizontal: HPos::Right, ..CENTERED });
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
            figure.text(name, (center, y), &Text { vertical: VPos::Top, ..CENTERED });
        } else {
            let name = font::shorten(name, TICK_SIZE, WIDEST_NAME);
            let style = Text { horizontal: HPos::Right, angle: SLANT, ..CENTERED };
            figure.text(&name, (center + TICK_SIZE / 3.0, y + TICK_SIZE / 3.0), &style);
        }
    }
}
