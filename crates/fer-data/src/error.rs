//! What can be wrong with data, and where.

use std::{
    io,
    path::{Path, PathBuf},
};

use fer_files::printable;

use crate::Shape;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why data could not be read, chosen, split or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened, read or written.
    #[error("{}: {}", printable(path.display()), printable(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of a CSV file is not as it must be.
    #[error("{}: line {line}: {}", printable(path.display()), printable(problem))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1, which is the header, as an editor shows it.
        line: u64,
        /// What was found and what is allowed.
        #[source]
        problem: Problem,
    },
    /// An image of a folder is not as it must be.
    #[error("{}: {}", printable(path.display()), printable(problem))]
    Image {
        /// The image file.
        path: PathBuf,
        /// What was found and what is allowed.
        #[source]
        problem: Problem,
    },
    /// A folder is not laid out as images in classes.
    #[error(
        "{}: found {}; allowed: train/<class>/*.png, test/<class>/*.png or <class>/*.png, other pictures alike, \
         with the classes {classes}", printable(path.display()), printable(found)
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// The classes that there can be.
        classes: String,
    },
    /// A file that holds no table that can be read.
    #[error("{}: {}, where a CSV file was expected; {advice}", printable(path.display()), printable(found))]
    NoTable {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        advice: String,
    },
    /// Images that would take too much memory.
    #[error(
        "{}: {images} images of {shape} pixels take {:.1} GB; allowed: {:.1} GB; a smaller size resizes them while they \
         are read", printable(path.display()), *bytes as f64 / 1e9, *limit as f64 / 1e9
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// How many images there are.
        images: usize,
        /// The shape of each.
        shape: Shape,
        /// What they take in memory.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },
    /// A setting or an argument has a value that is not allowed.
    #[error("{name} is {}; allowed: {allowed}", printable(found))]
    Invalid {
        /// The field or argument.
        name: &'static str,
        /// Its value.
        found: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A label that is not among the classes.
    #[error("label {label} is not among the classes {classes}")]
    UnseenLabel {
        /// The label.
        label: u32,
        /// The classes of the encoder, with their names.
        classes: String,
    },
    /// The data does not hold what the work needs: labels, a usage, rows.
    #[error("{}: {}", printable(data), printable(missing))]
    Missing {
        /// Where the data came from.
        data: String,
        /// What it lacks.
        missing: String,
    },
    /// A class or a side of a split is too small to stratify.
    #[error("{what} has {rows} rows; stratifying needs at least {needed}")]
    TooFew {
        /// The class or the side of the split.
        what: String,
        /// Its rows.
        rows: usize,
        /// The rows it needs.
        needed: usize,
    },
    /// The per-image function of a [`Loader`](crate::Loader) failed or panicked.
    #[error("row {row}: the function on images failed: {message}")]
    Map {
        /// The data row of the image.
        row: u32,
        /// The function's error, or the message of its panic.
        message: String,
    },
    /// The per-batch function of a [`Loader`](crate::Loader) failed or panicked.
    #[error("batch {batch}: the function on batches failed: {message}")]
    MapBatch {
        /// The batch in its epoch, from 0.
        batch: usize,
        /// The function's error, or the message of its panic.
        message: String,
    },
    /// A thread of a [`Loader`](crate::Loader) could not be started.
    #[error("a thread of the loader could not be started")]
    Thread,
}

impl Error {
    /// The file and the line, from 1, where the error is at a line.
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("faces.csv");
    /// std::fs::write(&path, "emotion,pixels\n3,1 2 3 4\n3,1 2 3 x\n")?;
    /// let error = fer_data::Dataset::open(&path).unwrap_err();
    /// assert_eq!(error.position(), Some((path.as_path(), 3)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn position(&self) -> Option<(&Path, u64)> {
        match self {
            Self::Line { path, line, .. } => Some((path, *line)),
            _ => None,
        }
    }
}

/// What is wrong with one line or one image: what was found and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file of 0 bytes.
    #[error("the file is empty; expected a header, such as `emotion,pixels,Usage`")]
    EmptyFile,
    /// A header and nothing else.
    #[error("the file ends after its header; expected at least one row")]
    NoRows,
    /// A column that the file must have.
    #[error("no column `{column}`; found {}", list(found))]
    MissingColumn {
        /// The column.
        column: &'static str,
        /// The columns that there are.
        found: Vec<String>,
    },
    /// A FER+ votes file where images were expected.
    #[error("these are the votes of FER+, without images; open the FER2013 file and join the votes to it")]
    VotesWithoutImages,
    /// A row with more or fewer fields than the header.
    #[error("{found} fields; allowed: {expected}, as in the header")]
    Fields {
        /// The fields of the row.
        found: usize,
        /// The fields of the header.
        expected: usize,
    },
    /// A quoted field that does not end with its line, or goes on after its closing quote.
    #[error("a quoted field that does not end with a quote on this line")]
    Quote,
    /// Bytes that are no text.
    #[error("invalid UTF-8 at byte {at} of the line")]
    NotUtf8 {
        /// The byte, from 1.
        at: usize,
    },
    /// A line beyond the reader's limit.
    #[error("a line of more than {limit} bytes")]
    LongLine {
        /// The limit in bytes.
        limit: usize,
    },
    /// A field whose value is not allowed.
    #[error("{column} is `{found}`; allowed: {allowed}")]
    Value {
        /// The column.
        column: &'static str,
        /// The value, shortened when long.
        found: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A pixel that is no number from 0 to 255.
    #[error("pixel {pixel} of {of} is `{found}`; allowed: 0 to 255")]
    Pixel {
        /// The pixel, from 1.
        pixel: usize,
        /// The pixels that the row has.
        of: usize,
        /// The value, shortened when long.
        found: String,
    },
    /// A first image that is not square.
    #[error("{found} pixels, which is no square image (48×48 has 2304)")]
    NotSquare {
        /// The pixels of the row.
        found: usize,
    },
    /// An image of another size than the first.
    #[error("{found} pixels; allowed: {} ({side}×{side}, as the first image)", side * side)]
    OtherSize {
        /// The pixels of the image.
        found: usize,
        /// The side of the first image.
        side: usize,
    },
    /// An image file of another size than the first.
    #[error("an image of {width}×{height}; allowed: {allowed}")]
    ImageSize {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The sizes that are allowed.
        allowed: String,
    },
    /// A row number twice.
    #[error("row {row} again; allowed: each row once")]
    RepeatedRow {
        /// The data row, from 0.
        row: u32,
    },
    /// Reading failed in the middle of the file: a truncated or damaged archive, a failing disk.
    #[error("reading failed: {0}; is the file complete?")]
    Read(#[source] io::Error),
    /// A picture that cannot be decoded.
    #[error(transparent)]
    Picture(#[from] fer_picture::Problem),
    /// Fields that are not divided by commas.
    #[error(
        "the header's fields are divided by {by}; allowed: commas; save the table as comma-separated values"
    )]
    Delimiter {
        /// What divides them.
        by: &'static str,
    },
    /// Lines that end with a carriage return alone, as on very old Macs.
    #[error("lines end with a carriage return alone; allowed: a line feed, with or without one before it")]
    CarriageReturns,
}

/// The value as errors show it: at most 40 characters, control characters escaped.
pub(crate) fn shorten(value: &str) -> String {
    match value.char_indices().nth(40) {
        Some((end, _)) => printable(&value[..end]) + "…",
        None => printable(value),
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(12).map(|name| format!("`{}`", shorten(name))).collect();
    quoted.join(", ")
}
