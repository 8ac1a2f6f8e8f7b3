//! Pictures from files.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

use crate::Error;

/// A picture in red, green and blue, upright: turned as its EXIF orientation says. The kind of the file is told by its contents.
/// Transparency is dropped; of an animation the first picture is read.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Picture`] when it is no picture of a kind that the program was built for,
/// or damaged.
pub fn read_picture(path: impl AsRef<Path>) -> Result<RgbImage, Error> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let reader = ImageReader::new(file).with_guessed_format().map_err(io)?;
    let upright = || {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture.into_rgb8())
    };
    upright().map_err(|source| Error::Picture { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orientation_of_a_photo_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        let picture = RgbImage::from_fn(16, 8, |x, _| image::Rgb([if x < 8 { 0 } else { 255 }; 3]));
        let mut jpeg = Vec::new();
        picture.write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
        // An EXIF segment after the start of the image: orientation 6, to be turned a quarter clockwise.
        let exif: &[u8] = &[
            0xff, 0xe1, 0, 34, b'E', b'x', b'i', b'f', 0, 0, b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12,
            0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0,
        ];
        jpeg.splice(2..2, exif.iter().copied());
        std::fs::write(&path, jpeg).unwrap();
        let upright = read_picture(&path).unwrap();
        assert_eq!(upright.dimensions(), (8, 16));
        assert!(upright.get_pixel(4, 0).0[0] < 30 && upright.get_pixel(4, 15).0[0] > 225);
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.png");
        assert!(read_picture(&path).unwrap_err().to_string().contains("notes.png"));
        std::fs::write(&path, "words").unwrap();
        assert!(read_picture(&path).unwrap_err().to_string().contains("notes.png"));
    }
}
