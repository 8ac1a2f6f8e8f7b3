//! Text out of files, for messages.

use std::fmt::Display;

/// The text with its control characters escaped: what a file or its name holds does not steer a terminal.
///
/// ```
/// assert_eq!(fer_files::printable("face\u{1b}[31m\n"), "face\\u{1b}[31m\\n");
/// ```
pub fn printable(text: impl Display) -> String {
    escaped(text, |c| c.is_control())
}

/// As [`printable`], of a text of several lines, which they stay.
///
/// ```
/// assert_eq!(fer_files::printable_lines("line 2:\n\u{1b}[31m"), "line 2:\n\\u{1b}[31m");
/// ```
pub fn printable_lines(text: impl Display) -> String {
    escaped(text, |c| c.is_control() && c != '\n')
}

fn escaped(text: impl Display, is_escaped: impl Fn(char) -> bool) -> String {
    text.to_string().chars().fold(String::new(), |mut shown, c| {
        match is_escaped(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
        shown
    })
}
