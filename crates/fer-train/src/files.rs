//! Files that are whole at any moment: written beside their place, synced, renamed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, weights::Weights};

/// Replaces the file at `path`, whose folder is made when it is missing. A crash leaves the old file or the
/// new one, whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| io(std::io::ErrorKind::InvalidFilename.into()))?;
    // `Path::new("file").parent()` is the empty path, which means this folder but cannot be opened.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    let partial = folder.join(partial);
    fs::create_dir_all(folder).map_err(io)?;
    let mut file = File::create(&partial).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&partial, path).map_err(io)?;
    // The rename itself is on disk only once the folder is; other systems cannot open folders.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// [`write`]s tensors, and text by name beside them, as safetensors.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &Weights,
    text: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    // The writer cannot report a failing device, so the values come to the CPU before.
    let on_cpu = |(name, tensor): (&String, &candle_core::Tensor)| {
        Ok((name.clone(), tensor.to_device(&candle_core::Device::Cpu)?))
    };
    let tensors = tensors.iter().map(on_cpu).collect::<candle_core::Result<Weights>>()?;
    let bytes = safetensors::serialize(&tensors, text)
        .map_err(|error| Error::Format { path: path.to_owned(), reason: error.to_string() })?;
    write(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.txt");
        write(&path, b"old").unwrap();
        // What a crash in the middle of a write leaves behind.
        fs::write(path.with_file_name(".file.txt.partial"), b"ha").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), b"x").unwrap_err().to_string();
        assert!(error.starts_with(&folder.path().display().to_string()), "{error}");
    }
}
