//! Opens a file or a folder, whichever kind of data it is.

use std::path::Path;

use crate::{Dataset, Result, csv, folder};

impl Dataset {
    /// Reads and checks every row of a CSV file or a folder of images. The content tells which it is:
    ///
    /// - CSV, plain, gzip or Zstandard, with the columns `emotion`, `pixels`, `Usage` in any order
    ///   (`fer2013.csv`, `icml_face_data.csv`), without `Usage` (`train.csv`) or with `pixels` alone
    ///   (`test.csv`);
    /// - folders `train|valid|test/<class>/*.{png,jpg}`, or the class folders alone.
    ///
    /// The images are square, all of one size, which is found from the first.
    ///
    /// # Errors
    /// [`Error::Line`](crate::Error::Line) at the first line that is not as it must be,
    /// [`Error::Image`](crate::Error::Image) and [`Error::Folder`](crate::Error::Folder) for images,
    /// [`Error::Io`](crate::Error::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let data = if path.is_dir() { folder::read(path)? } else { csv::read(path)? };
        tracing::info!(path = data.source().path, rows = data.len(), md5 = data.source().md5, "read");
        Ok(data)
    }
}
