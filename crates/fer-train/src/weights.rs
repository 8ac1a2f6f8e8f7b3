//! The variables of a network: copied, put back, written and read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use candle_core::{Tensor, Var};
use candle_nn::VarMap;

use crate::{Error, Result, files};

/// Tensors by name, in the order of their names.
pub type Weights = BTreeMap<String, Tensor>;

/// The variables by name. They share the network's memory.
pub(crate) fn sorted(weights: &VarMap) -> BTreeMap<String, Var> {
    let data = weights.data().lock().unwrap_or_else(PoisonError::into_inner);
    data.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
}

/// The variables as plain tensors that still share the network's memory.
pub(crate) fn views(weights: &VarMap) -> Weights {
    sorted(weights).into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect()
}

/// A copy of all variables as they are now, those that are not trained (moving statistics) included.
///
/// # Errors
/// When the device fails.
pub fn snapshot(weights: &VarMap) -> Result<Weights> {
    let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.copy()?));
    views(weights).into_iter().map(copy).collect()
}

/// Sets all variables to the values of a [`snapshot`].
///
/// # Errors
/// [`Error::Shape`] when the snapshot has other names, shapes or types than the variables; then none is
/// changed.
pub fn restore(weights: &VarMap, snapshot: &Weights) -> Result<()> {
    let vars = sorted(weights);
    if let Some(difference) = differences(&views(weights), snapshot).into_iter().next() {
        return Err(Error::Shape { what: "weights", expected: difference.0, found: difference.1 });
    }
    for (name, var) in vars {
        if let Some(value) = snapshot.get(&name) {
            var.set(&value.to_device(var.device())?)?;
        }
    }
    Ok(())
}

/// Writes all variables as safetensors; a crash leaves the old file or the new one.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn save(weights: &VarMap, path: impl AsRef<Path>) -> Result<()> {
    files::write_safetensors(path.as_ref(), &views(weights), None)
}

/// Sets all variables to what [`save`] wrote, or another safetensors file of the same names, shapes and types.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Init, VarMap};
/// use fer_train::weights;
///
/// let (trained, fresh) = (VarMap::new(), VarMap::new());
/// trained.get(2, "bias", Init::Const(0.5), DType::F32, &Device::Cpu)?;
/// let bias = fresh.get(2, "bias", Init::Const(0.0), DType::F32, &Device::Cpu)?;
/// let folder = tempfile::tempdir()?;
/// weights::save(&trained, folder.path().join("weights.safetensors"))?;
/// weights::load(&fresh, folder.path().join("weights.safetensors"))?;
/// assert_eq!(bias.to_vec1::<f32>()?, [0.5, 0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Format`] when it is no safetensors file, or of other variables: then
/// none is changed.
pub fn load(weights: &VarMap, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let found = files::tensors(path, &bytes)?;
    match differences(&views(weights), &found).into_iter().next() {
        Some((expected, found)) => {
            let reason = format!("expected {expected}, found {found}");
            Err(Error::Format { path: path.to_owned(), reason })
        }
        None => restore(weights, &found),
    }
}

/// What `expected` and `found` do not share: each tensor as it is there and here.
pub(crate) fn differences(expected: &Weights, found: &Weights) -> Vec<(String, String)> {
    let describe = |name: &str, tensor: Option<&Tensor>| match tensor {
        Some(tensor) => format!("{name} {:?} {:?}", tensor.dtype(), tensor.dims()),
        None => format!("no {name}"),
    };
    let extra = found.keys().filter(|name| !expected.contains_key(*name));
    let pairs = expected
        .keys()
        .chain(extra)
        .map(|name| (describe(name, expected.get(name)), describe(name, found.get(name))));
    pairs.filter(|(expected, found)| expected != found).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::Init;

    use super::*;

    fn one(name: &str, len: usize) -> VarMap {
        let weights = VarMap::new();
        weights.get(len, name, Init::Const(1.0), DType::F32, &Device::Cpu).unwrap();
        weights
    }

    #[test]
    fn a_snapshot_is_a_copy_that_can_be_put_back() {
        let weights = one("w", 2);
        let before = snapshot(&weights).unwrap();
        let var = &sorted(&weights)["w"];
        var.set(&Tensor::new(&[5_f32, 6.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(before["w"].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
        restore(&weights, &before).unwrap();
        assert_eq!(var.to_vec1::<f32>().unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn a_snapshot_of_another_network_is_refused_by_name() {
        let error = restore(&one("w", 2), &snapshot(&one("w", 3)).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "weights: expected w F32 [2], found w F32 [3]");
        let error = restore(&one("w", 2), &snapshot(&one("x", 2)).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "weights: expected w F32 [2], found no w");
    }

    #[test]
    fn saved_weights_are_plain_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/weights.safetensors");
        save(&one("w", 2), &path).unwrap();
        let read = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        assert_eq!(read["w"].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn weights_of_another_network_are_refused_by_file_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        save(&one("w", 3), &path).unwrap();
        let weights = one("w", 2);
        let error = load(&weights, &path).unwrap_err().to_string();
        assert!(error.ends_with("weights.safetensors: expected w F32 [2], found w F32 [3]"), "{error}");
        std::fs::write(&path, b"no tensors").unwrap();
        let error = load(&weights, &path).unwrap_err().to_string();
        assert!(error.contains("weights.safetensors: "), "{error}");
        assert_eq!(snapshot(&weights).unwrap()["w"].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
    }
}
