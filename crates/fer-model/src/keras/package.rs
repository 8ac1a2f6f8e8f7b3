//! `.keras` files: a zip archive of the description and the weights.

use std::io::{Cursor, Read};

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use crate::Error;

/// What a `.keras` file holds.
pub(super) struct Package {
    /// `config.json`.
    pub config: String,
    /// `model.weights.h5`.
    pub weights: Vec<u8>,
    /// Whether `metadata.json` says that Keras 3 wrote it.
    pub keras3: bool,
}

/// Members are at most this large.
const MAX_BYTES: u64 = 4 << 30;

/// Opens a `.keras` file; `file` stands for it in errors.
pub(super) fn open(bytes: &[u8], file: &str) -> Result<Package, Error> {
    let wrong = |message: String| Error::keras(file, message);
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|e| wrong(format!("a damaged zip archive: {e}")))?;
    let mut member = |name: &str| -> Result<Vec<u8>, Error> {
        let index = archive.index_for_name(name);
        let index = index.ok_or_else(|| wrong(format!("a zip archive without {name}: no .keras file")))?;
        let member = archive.by_index_raw(index).map_err(|e| wrong(format!("{name}: {e}")))?;
        let (size, method) = (member.size(), member.compression());
        let mut contents = Vec::new();
        let read = match method {
            _ if size > MAX_BYTES => {
                return Err(wrong(format!("{name} takes {size} bytes; allowed: {MAX_BYTES}")));
            }
            CompressionMethod::STORE => member.take(size).read_to_end(&mut contents),
            CompressionMethod::DEFLATE => DeflateDecoder::new(member).take(size).read_to_end(&mut contents),
            method => {
                return Err(wrong(format!("{name} is packed by {method:?}; allowed: stored or deflated")));
            }
        };
        read.map_err(|e| wrong(format!("{name}: {e}")))?;
        match contents.len() as u64 == size {
            true => Ok(contents),
            false => Err(wrong(format!("{name} is cut off: is the file complete?"))),
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let metadata = member("metadata.json").map(text).unwrap_or_default();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap_or_default();
    let keras3 = metadata["keras_version"].as_str().is_some_and(|version| version.starts_with("3."));
    Ok(Package { config: text(member("config.json")?), weights: member("model.weights.h5")?, keras3 })
}
