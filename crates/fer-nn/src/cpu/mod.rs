//! The layers' arithmetic on the CPU: slices in, slices out.
//!
//! Every kernel splits its work by the shapes alone, never by the number of threads, and adds partial sums in a
//! fixed order: the result is the same to the bit on one thread and on many.

pub(crate) mod conv2d;
pub(crate) mod dense;
mod direct;
pub(crate) mod elementwise;
mod grouped_conv2d;
pub(crate) mod groups;
mod im2col;
pub(crate) mod matmul;
mod moments;
pub(crate) mod normalize;
#[cfg(test)]
pub(crate) mod plain;
pub(crate) mod pool;
#[cfg(test)]
mod roofline;
mod scratch;
pub(crate) mod tail;
pub(crate) mod trunk;
mod winograd;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The values of a contiguous f32 tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [f32]> {
    let CpuStorage::F32(data) = storage else {
        bail!("{op} works on f32 tensors, got {:?}", storage.dtype())
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("{op} works on contiguous tensors, got {layout:?}"),
    }
}

/// Calls `work` with the values of a tensor of the CPU.
pub(crate) fn read<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(work(values(storage, layout, "reading")?)),
        _ => bail!("expected a tensor on the CPU, got one on {:?}", tensor.device()),
    }
}

/// Runs the loop compiled for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
