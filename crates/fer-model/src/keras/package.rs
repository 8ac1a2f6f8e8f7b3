//! `.keras` files: a zip archive of the description and the weights.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::file::MAX_EXPANSION;
use crate::{Error, Result};

/// What a `.keras` file holds.
pub(super) struct Package {
    /// `config.json`.
    pub config: String,
    /// `model.weights.h5`.
    pub weights: Vec<u8>,
    /// Whether `metadata.json` says that Keras 3 wrote it.
    pub keras3: bool,
}

/// The longest description, in bytes; Keras' largest models have some 2 MB.
const MAX_TEXT: u64 = 64 << 20;

/// Opens a `.keras` file; `file` stands for it in errors.
pub(super) fn open(bytes: &[u8], file: &str) -> Result<Package> {
    let wrong = |message: String| Error::keras(file, message);
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|e| wrong(format!("a damaged zip archive: {e}")))?;
    let mut member = |name: &str, most: u64| -> Result<Vec<u8>> {
        let index = archive.index_for_name(name);
        let index = index.ok_or_else(|| wrong(format!("a zip archive without {name}: no .keras file")))?;
        let member = archive.by_index(index).map_err(|e| wrong(format!("{name}: {e}")))?;
        let mut contents = Vec::new();
        // The checksum is compared at the member's end.
        let read = member.take(most + 1).read_to_end(&mut contents);
        read.map_err(|e| wrong(format!("{name}: {e}: is the file complete?")))?;
        match contents.len() as u64 > most {
            true => Err(wrong(format!("{name} is of more than {most} bytes"))),
            false => Ok(contents),
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let metadata: serde_json::Value = serde_json::from_slice(&member("metadata.json", MAX_TEXT)?)
        .map_err(|e| wrong(format!("metadata.json: {e}")))?;
    let keras3 = metadata["keras_version"].as_str().is_some_and(|version| version.starts_with("3."));
    let config = text(member("config.json", MAX_TEXT)?);
    let weights = member("model.weights.h5", MAX_EXPANSION.saturating_mul(bytes.len() as u64))?;
    Ok(Package { config, weights, keras3 })
}
