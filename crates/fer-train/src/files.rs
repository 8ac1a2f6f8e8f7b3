//! Files that are whole at any moment.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::{Error, Result};

/// Replaces the file at `path`, whose folder is made when it is missing. A crash leaves the old file or the
/// new one, whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fer_files::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// [`write`]s tensors, and text by name beside them, as safetensors.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    text: Option<HashMap<String, String>>,
) -> Result<()> {
    // The writer cannot report a failing device, so the values come to the CPU before.
    let on_cpu = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&Device::Cpu)?));
    let tensors = tensors.iter().map(on_cpu).collect::<candle_core::Result<BTreeMap<_, _>>>()?;
    let bytes = safetensors::serialize(&tensors, text)
        .map_err(|error| Error::Format { path: path.to_owned(), reason: error.to_string() })?;
    write(path, &bytes)
}

/// The tensors of a safetensors file of these bytes, on the CPU.
pub(crate) fn tensors(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let bad = |reason: String| Error::Format { path: path.to_owned(), reason };
    let file = SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))?;
    let load = |(name, view): (String, TensorView)| match view.load(&Device::Cpu) {
        Ok(tensor) => Ok((name, tensor)),
        Err(error) => Err(bad(format!("tensor `{name}`: {error}"))),
    };
    file.tensors().into_iter().map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), b"x").unwrap_err().to_string();
        assert!(error.starts_with(&folder.path().display().to_string()), "{error}");
    }
}
