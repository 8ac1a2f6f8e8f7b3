//! Opens a file or a folder, whichever kind of data it is.

use std::path::Path;

use crate::{Classes, Dataset, Result, Size, csv, folder};

/// How data is read where it is not as it should be.
///
/// ```
/// use fer_data::{Dataset, ReadConfig};
///
/// let config = ReadConfig { size: Some("64x48".parse()?), colour: true, ..ReadConfig::default() };
/// assert!(Dataset::open_with("no/such/folder", &config).is_err());
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadConfig {
    /// Which classes there are.
    pub classes: Classes,
    /// Images of any size and any proportions are resized to this one by a triangle filter, as a model
    /// resizes what it is shown. They are while they are read: large pictures take no more memory than small ones.
    #[serde(alias = "side")]
    pub size: Option<Size>,
    /// Colour is kept, in three channels, and grey gets equal red, green and blue. Otherwise colour becomes grey as
    /// [`DynamicImage::to_luma8`](image::DynamicImage::to_luma8) makes it.
    pub colour: bool,
    /// A JPEG that is cut off is taken as far as it goes.
    pub allow_truncated: bool,
}

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
