//! Files that appear whole or not at all.

use std::path::Path;

use crate::{Error, Result};

/// [`fer_files::write`], whose error names the file: whole or not at all, in a folder that is made when missing.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_file(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    fer_files::write(path, contents).map_err(|source| Error::Io { path: path.to_owned(), source })
}
