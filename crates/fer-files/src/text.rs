//! Text out of files, for messages.

/// The text with its control characters escaped: what a file holds does not steer a terminal.
///
/// ```
/// assert_eq!(fer_files::printable("face\u{1b}[31m\n"), "face\\u{1b}[31m\\n");
/// ```
pub fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
        shown
    })
}
