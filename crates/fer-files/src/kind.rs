//! What a file is, by its first bytes.

use std::fmt;

/// The kind of a file, as errors name it. [`Kind::of`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No bytes at all.
    Empty,
    /// A zip archive; `.keras` files, spreadsheets and PyTorch's files are zip archives too.
    Zip,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstandard,
    /// A tar archive that is not compressed.
    Tar,
    /// Xz.
    Xz,
    /// Bzip2.
    Bzip2,
    /// A 7z archive.
    SevenZip,
    /// A RAR archive.
    Rar,
    /// An HDF5 file, as Keras' `.h5`.
    Hdf5,
    /// A TensorFlow Lite model.
    TfLite,
    /// An ONNX model.
    Onnx,
    /// A safetensors file.
    Safetensors,
    /// An array of NumPy.
    Numpy,
    /// A Parquet table.
    Parquet,
    /// An SQLite database.
    Sqlite,
    /// A file of the old Microsoft Office.
    OldOffice,
    /// A PDF document.
    Pdf,
    /// A web page.
    Html,
    /// The pointer that Git LFS leaves in place of a file.
    GitLfs,
    /// Text in UTF-16.
    Utf16,
    /// A PNG picture.
    Png,
    /// A JPEG picture.
    Jpeg,
    /// A GIF picture.
    Gif,
    /// A WebP picture.
    WebP,
    /// A BMP picture.
    Bmp,
    /// A TIFF picture.
    Tiff,
    /// A HEIC or AVIF picture.
    Heif,
    /// An MP4 or QuickTime video.
    Mp4,
}

/// Where in a file which bytes are, and what it is then.
const SIGNATURES: [(usize, &[u8], Kind); 27] = [
    (0, b"PK\x03\x04", Kind::Zip),
    (0, b"PK\x05\x06", Kind::Zip),
    (0, b"\x1f\x8b", Kind::Gzip),
    (0, b"\x28\xb5\x2f\xfd", Kind::Zstandard),
    (257, b"ustar", Kind::Tar),
    (0, b"\xfd7zXZ\0", Kind::Xz),
    (0, b"BZh", Kind::Bzip2),
    (0, b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (0, b"Rar!\x1a\x07", Kind::Rar),
    (0, b"\x89HDF\r\n\x1a\n", Kind::Hdf5),
    (4, b"TFL3", Kind::TfLite),
    (8, b"{\"", Kind::Safetensors),
    (0, b"\x93NUMPY", Kind::Numpy),
    (0, b"PAR1", Kind::Parquet),
    (0, b"SQLite format 3\0", Kind::Sqlite),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::OldOffice),
    (0, b"%PDF", Kind::Pdf),
    (0, b"version https://git-lfs", Kind::GitLfs),
    (0, b"\xff\xfe", Kind::Utf16),
    (0, b"\xfe\xff", Kind::Utf16),
    (0, b"\x89PNG\r\n\x1a\n", Kind::Png),
    (0, b"\xff\xd8\xff", Kind::Jpeg),
    (0, b"GIF8", Kind::Gif),
    (8, b"WEBP", Kind::WebP),
    (0, b"BM", Kind::Bmp),
    (0, b"II*\0", Kind::Tiff),
    (0, b"MM\0*", Kind::Tiff),
];

impl Kind {
    /// The kind of the file that begins with `head`, of which 512 bytes are enough; none where it is not known, as that of
    /// text.
    ///
    /// ```
    /// use fer_files::Kind;
    /// assert_eq!(Kind::of(b"PK\x03\x04 and so on"), Some(Kind::Zip));
    /// assert_eq!(Kind::of(b"emotion,pixels,Usage\n"), None);
    /// ```
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.is_empty() {
            return Some(Self::Empty);
        }
        let at = |&&(at, bytes, _): &&(usize, &[u8], Self)| {
            head.get(at..).is_some_and(|rest| rest.starts_with(bytes))
        };
        if let Some((_, _, kind)) = SIGNATURES.iter().find(at) {
            // A table may begin with the letters BM: a picture's size is followed by four zeros.
            let is_table = *kind == Self::Bmp && head.get(6..10) != Some(&[0; 4]);
            return (!is_table).then_some(*kind);
        }
        if head.get(4..8) == Some(b"ftyp") {
            let brand = head.get(8..12).unwrap_or_default();
            let is_picture = [b"heic", b"heix", b"mif1", b"avif"].iter().any(|known| brand == *known);
            return Some(if is_picture { Self::Heif } else { Self::Mp4 });
        }
        let text = head.trim_ascii_start();
        let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
        if begins(b"<!doctype html") || begins(b"<html") {
            return Some(Self::Html);
        }
        // ONNX has no signature: its first field is a small version, its second the producer's name.
        matches!(head, [8, 1..=20, 0x12, ..]).then_some(Self::Onnx)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip file",
            Self::Zstandard => "a Zstandard file",
            Self::Tar => "a tar archive",
            Self::Xz => "an xz file",
            Self::Bzip2 => "a bzip2 file",
            Self::SevenZip => "a 7z archive",
            Self::Rar => "a RAR archive",
            Self::Hdf5 => "an HDF5 file, as Keras' .h5",
            Self::TfLite => "a TensorFlow Lite model",
            Self::Onnx => "an ONNX model",
            Self::Safetensors => "a safetensors file",
            Self::Numpy => "a NumPy array",
            Self::Parquet => "a Parquet table",
            Self::Sqlite => "an SQLite database",
            Self::OldOffice => "a file of the old Microsoft Office",
            Self::Pdf => "a PDF document",
            Self::Html => "a web page",
            Self::GitLfs => "the pointer of a file that Git LFS has not fetched",
            Self::Utf16 => "text in UTF-16",
            Self::Png => "a PNG picture",
            Self::Jpeg => "a JPEG picture",
            Self::Gif => "a GIF picture",
            Self::WebP => "a WebP picture",
            Self::Bmp => "a BMP picture",
            Self::Tiff => "a TIFF picture",
            Self::Heif => "a HEIC or AVIF picture",
            Self::Mp4 => "an MP4 or QuickTime video",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_have_in_place_of_a_table_is_known() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, kind) in [
            (&b""[..], Some(Kind::Empty)),
            (&tar[..], Some(Kind::Tar)),
            (b"\n <!DOCTYPE HTML><title>Sign in</title>", Some(Kind::Html)),
            (b"version https://git-lfs.github.com/spec/v1\noid", Some(Kind::GitLfs)),
            (b"\x1c\0\0\0TFL3", Some(Kind::TfLite)),
            (b"\x08\x07\x12\x07pytorch", Some(Kind::Onnx)),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", Some(Kind::Safetensors)),
            (b"\0\0\0\x18ftypheic", Some(Kind::Heif)),
            (b"\0\0\0\x18ftypisom", Some(Kind::Mp4)),
            (b"\xff\xfee\0m\0", Some(Kind::Utf16)),
            (b"BM\x36\x10\0\0\0\0\0\0", Some(Kind::Bmp)),
            (b"BMW,pixels\n1,2", None),
            (b"\xef\xbb\xbfemotion,pixels", None),
            (b"3", None),
        ] {
            assert_eq!(Kind::of(head), kind, "{head:?}");
        }
    }
}
