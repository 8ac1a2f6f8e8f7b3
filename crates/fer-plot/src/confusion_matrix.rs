//! What each class was taken for.

use fer_metrics::ConfusionMatrix;

use crate::{
    Error, Figure, Result,
    chart::{draw_names, names_height},
    font,
    shape::{Color, Horizontal, Text, Vertical},
    theme::{CENTERED, FAINT, GRID, INK, NAME_SIZE, PAPER, TICK_SIZE, TITLE_SIZE, blues, thousands},
};

/// The widest that the name of a class may be beside its row.
const WIDEST_NAME: f32 = 170.0;

/// The confusion matrix: a row for each true class, a column for each predicted one, with counts and the part
/// of the row in percent, which is also the colour. The class `c` is named `names[c]`.
///
/// # Errors
/// [`Error::Name`] when there is not one name a class.
pub fn confusion_matrix(matrix: &ConfusionMatrix, names: &[impl AsRef<str>]) -> Result<Figure> {
    let classes = matrix.classes();
    if names.len() != classes {
        let class = names.len().min(classes);
        return Err(Error::Name { figure: "confusion_matrix", class, names: names.len() });
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let cell = (480.0 / classes as f32).clamp(46.0, 140.0);
    let side = cell * classes as f32;
    let widest = names.iter().map(|name| font::width(name, TICK_SIZE)).fold(0.0, f32::max);
    let (left, top) = (widest.min(WIDEST_NAME) + 52.0, 72.0);
    let bottom = 10.0 + names_height(&names, cell) + 34.0;
    let mut figure = Figure::new(left + side + 96.0, top + side + bottom);

    let heading = Text { horizontal: Horizontal::Left, size: TITLE_SIZE, ..CENTERED };
    figure.text("Confusion matrix", (left, 24.0), &heading);
    let right = matrix.total() - matrix.wrong();
    let summary = format!(
        "{} of {} right: {:.1} %",
        thousands(right),
        thousands(matrix.total()),
        100.0 * matrix.accuracy()
    );
    figure.text(&summary, (left, 50.0), &Text { horizontal: Horizontal::Left, color: FAINT, ..CENTERED });

    let fractions = matrix.by_true_class();
    for ((row, column), &count) in matrix.counts().indexed_iter() {
        let fraction = fractions[(row, column)];
        let (x, y) = (left + cell * column as f32, top + cell * row as f32);
        figure.rect((x, y), (cell, cell), blues(fraction));
        frame(&mut figure, (x, y), (cell, cell), GRID);
        let color = if fraction > 0.65 { PAPER } else { INK };
        let fitted = |text: &str, size: f32| size.min(size * (cell - 6.0) / font::width(text, size).max(1.0));
        let (count, percent) = (thousands(count), format!("{:.1} %", 100.0 * fraction));
        let size = fitted(&count, (cell * 0.22).clamp(12.0, 20.0));
        let middle = (x + cell / 2.0, y + cell / 2.0);
        figure.text(&count, (middle.0, middle.1 - size * 0.65), &Text { size, color, ..CENTERED });
        let size = fitted(&percent, (cell * 0.16).clamp(10.0, 13.0));
        figure.text(&percent, (middle.0, middle.1 + size * 1.05), &Text { size, color, ..CENTERED });
    }
    frame(&mut figure, (left, top), (side, side), FAINT);

    for (row, name) in names.iter().enumerate() {
        let name = font::shorten(name, TICK_SIZE, WIDEST_NAME);
        let place = (left - 10.0, top + cell * (row as f32 + 0.5));
        figure.text(&name, place, &Text { horizontal: Horizontal::Right, ..CENTERED });
    }
    draw_names(&mut figure, (left + cell / 2.0, top + side + 10.0), cell, &names);
    let axis = Text { size: NAME_SIZE, ..CENTERED };
    figure.text("true class", (18.0, top + side / 2.0), &Text { angle: -90.0, ..axis });
    figure.text("predicted class", (left + side / 2.0, top + side + bottom - 16.0), &axis);
    color_scale(&mut figure, (left + side + 22.0, top), side);
    Ok(figure)
}

/// What the colours mean: 0 to 100 percent, from below.
fn color_scale(figure: &mut Figure, (x, y): (f32, f32), height: f32) {
    const STEPS: usize = 100;
    for step in 0..STEPS {
        // Each step reaches down to the end, so that no seam shows between two.
        let above = height * step as f32 / STEPS as f32;
        figure.rect((x, y + above), (14.0, height - above), blues(1.0 - (step as f64 + 0.5) / STEPS as f64));
    }
    frame(figure, (x, y), (14.0, height), FAINT);
    for percent in [0, 25, 50, 75, 100] {
        let place = (x + 20.0, y + height * (1.0 - percent as f32 / 100.0));
        figure.text(
            &format!("{percent} %"),
            place,
            &Text { horizontal: Horizontal::Left, size: 11.0, ..CENTERED },
        );
    }
    let caption = Text {
        size: 11.0,
        color: FAINT,
        horizontal: Horizontal::Center,
        vertical: Vertical::Bottom,
        angle: 0.0,
    };
    figure.text("of the row", (x + 22.0, y - 8.0), &caption);
}

fn frame(figure: &mut Figure, (x, y): (f32, f32), (width, height): (f32, f32), color: Color) {
    let corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)];
    figure.line(corners, 1.0, color);
}
