//! From bytes to a picture.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use fer_files::Kind;
use image::error::DecodingError;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::{Error, Problem, Result, jpeg};

/// Bytes that tell what a file is.
const HEAD: u64 = 512;

/// How pictures are decoded.
///
/// ```
/// use fer_picture::Decoder;
///
/// let decoder = Decoder { max_bytes: 50_000_000, ..Decoder::default() };
/// assert!(decoder.decode(b"<html>").unwrap_err().to_string().starts_with("a web page, no picture"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Takes a JPEG that is cut off as far as it goes; what is missing is grey. Off by default.
    pub allow_truncated: bool,
    /// What a decoded picture may take in memory: 400 MB by default.
    pub max_bytes: u64,
    /// How many pixels a picture may have: 133 million by default, which take 400 MB in colour, so that a grey picture does not
    /// become larger than that either.
    pub max_pixels: u64,
}

/// The bytes of a file for [`Decoder::decode`]: all of a picture, and of anything else only its first, by which `decode` tells
/// what it is. A large file that is no picture takes no memory.
///
/// # Errors
/// When the file cannot be read.
pub fn contents(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut bytes)?;
    if image::guess_format(&bytes).is_ok() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Default for Decoder {
    fn default() -> Self {
        Self { allow_truncated: false, max_bytes: 400_000_000, max_pixels: 133_000_000 }
    }
}

impl Decoder {
    /// The picture in a file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`decode`](Self::decode).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<DynamicImage> {
        let path = path.as_ref();
        let bytes = contents(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        self.decode(&bytes).map_err(|problem| Error::Picture { path: path.to_owned(), problem })
    }

    /// The picture in these bytes, turned as its EXIF orientation says. Of an animation it is the first.
    ///
    /// # Errors
    /// [`Problem::NoPicture`], [`Problem::Truncated`], [`Problem::NoPixels`], [`Problem::TooLarge`],
    /// [`Problem::TooManyPixels`]; [`Problem::Decode`] for damage, also where the format's decoder panics on it, of which the
    /// process' panic hook still hears.
    pub fn decode(&self, bytes: &[u8]) -> Result<DynamicImage, Problem> {
        // A cursor does not fail.
        let reader =
            ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(ImageError::IoError)?;
        let format = reader.format().filter(ImageFormat::reading_enabled);
        let format = match format {
            None => return Err(Problem::NoPicture { kind: Kind::of(bytes) }),
            Some(ImageFormat::Jpeg) if !self.allow_truncated && jpeg::is_truncated(bytes) => {
                return Err(Problem::Truncated);
            }
            Some(format) => format,
        };
        // What the decoders of the formats do with damage is not in our hands: one that panics has met some.
        panic::catch_unwind(AssertUnwindSafe(|| self.read_from(reader))).unwrap_or_else(|_| {
            let problem = DecodingError::new(format.into(), "its decoder gave up on it");
            Err(ImageError::Decoding(problem).into())
        })
    }

    fn read_from(&self, reader: ImageReader<Cursor<&[u8]>>) -> Result<DynamicImage, Problem> {
        let mut decoder = reader.into_decoder()?;
        let ((width, height), bytes) = (decoder.dimensions(), decoder.total_bytes());
        if width == 0 || height == 0 {
            return Err(Problem::NoPixels { width, height });
        }
        if bytes > self.max_bytes {
            return Err(Problem::TooLarge { width, height, bytes, limit: self.max_bytes });
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Problem::TooManyPixels { width, height, limit: self.max_pixels });
        }
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    }
}
