//! The colours, sizes and texts that the figures share. The palette can be told apart with any colour vision.

use crate::shape::{Color, Horizontal, Text, Vertical};

pub(crate) const PAPER: Color = Color(255, 255, 255);
pub(crate) const INK: Color = Color(38, 38, 38);
pub(crate) const FAINT: Color = Color(110, 110, 110);
pub(crate) const GRID: Color = Color(229, 229, 229);

// seaborn's "colorblind" palette.
pub(crate) const BLUE: Color = Color(1, 115, 178);
pub(crate) const ORANGE: Color = Color(222, 143, 5);
pub(crate) const VERMILION: Color = Color(205, 70, 0);

/// The same for many lines or areas; more than there are colours begin it again.
pub(crate) const PALETTE: [Color; 10] = [
    BLUE,
    ORANGE,
    Color(2, 158, 115),
    Color(213, 94, 0),
    Color(204, 120, 188),
    Color(202, 145, 97),
    Color(148, 148, 148),
    Color(236, 225, 51),
    Color(251, 175, 228),
    Color(86, 180, 233),
];

pub(crate) const TITLE_SIZE: f32 = 17.0;
pub(crate) const NAME_SIZE: f32 = 13.0;
pub(crate) const TICK_SIZE: f32 = 12.0;

/// Text centred on its point.
pub(crate) const CENTERED: Text = Text {
    size: TICK_SIZE,
    color: INK,
    horizontal: Horizontal::Center,
    vertical: Vertical::Center,
    angle: 0.0,
};

/// ColorBrewer's "Blues" from white to dark blue, for a part in 0..=1.
pub(crate) fn blues(part: f64) -> Color {
    let stops = [
        [255.0, 255.0, 255.0],
        [222.0, 235.0, 247.0],
        [158.0, 202.0, 225.0],
        [66.0, 146.0, 198.0],
        [8.0, 81.0, 156.0],
        [8.0, 48.0, 107.0],
    ];
    between(&stops, part)
}

/// ColorBrewer's "YlOrRd" from yellow to dark red, without its lightest, for a part in 0..=1.
pub(crate) fn warm(part: f64) -> Color {
    let stops = [
        [254.0, 217.0, 118.0],
        [253.0, 141.0, 60.0],
        [252.0, 78.0, 42.0],
        [227.0, 26.0, 28.0],
        [177.0, 0.0, 38.0],
    ];
    between(&stops, part)
}

/// The colour at a part, 0..=1, of the way through these.
fn between(stops: &[[f64; 3]], part: f64) -> Color {
    let place = part.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let below = (place as usize).min(stops.len() - 2);
    let part = place - below as f64;
    let mix = |i: usize| (stops[below][i] * (1.0 - part) + stops[below + 1][i] * part).round() as u8;
    Color(mix(0), mix(1), mix(2))
}

/// A count with its thousands apart: 21,264.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    digits.char_indices().fold(String::new(), |mut text, (index, digit)| {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 547, 8989, 21_264, 1_000_000].map(thousands),
            ["0", "547", "8,989", "21,264", "1,000,000"]
        );
    }

    #[test]
    fn blues_go_from_white_to_dark() {
        assert_eq!(blues(0.0), PAPER);
        assert_eq!(blues(1.0), Color(8, 48, 107));
        assert_eq!((warm(0.25), warm(1.0)), (Color(253, 141, 60), Color(177, 0, 38)));
    }
}
