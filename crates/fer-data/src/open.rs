//! Opens a file or a folder, whichever kind of data it is.

use std::path::Path;

use crate::{Dataset, ReadConfig, Result, csv, folder};

impl Dataset {
    /// Reads and checks every row of a CSV file or a folder of images. The content tells which it is:
    ///
    /// - CSV, plain, gzip, Zstandard, or the only CSV file in a zip or tar archive, with the columns `emotion`,
    ///   `pixels`, `Usage` in any order (`fer2013.csv`, `icml_face_data.csv`), without `Usage` (`train.csv`) or with
    ///   `pixels` alone (`test.csv`);
    /// - folders `train|valid|test/<class>/*`, or the class folders alone, of PNG, JPEG, BMP, GIF, TIFF and WebP pictures.
    ///   What else is in them is counted in a warning.
    ///
    /// All images are of one size, which is found from the first; those of tables are square and grey. They may take 8 GiB.
    ///
    /// # Errors
    /// [`Error::Line`](crate::Error::Line) at the first line that is not as it must be,
    /// [`Error::NoTable`](crate::Error::NoTable) for what is no text at all,
    /// [`Error::Image`](crate::Error::Image), [`Error::Folder`](crate::Error::Folder) and
    /// [`Error::TooLarge`](crate::Error::TooLarge) for images, [`Error::Io`](crate::Error::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &ReadConfig::default())
    }

    /// As [`open`](Self::open), by a configuration.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, config: &ReadConfig) -> Result<Self> {
        let path = path.as_ref();
        let data = match path.is_dir() {
            true => folder::read(path, config)?,
            false => csv::read(path, config)?,
        };
        tracing::info!(path = data.source().path, rows = data.len(), md5 = data.source().md5, "read");
        Ok(data)
    }
}
