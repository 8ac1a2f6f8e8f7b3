//! The arithmetic on the CPU: slices in, slices out; and an engine that runs the convolutional stages of a plan as one.
//!
//! Every kernel splits its sums by the shapes alone, never by the number of threads, and adds partial sums in a
//! fixed order: the result is the same to the bit on one thread and on many.

pub(crate) mod activate;
pub(crate) mod conv2d;
pub(crate) mod dense;
mod depthwise;
mod direct;
pub(crate) mod elementwise;
pub(crate) mod fused;
mod grouped_conv2d;
mod groups;
mod im2col;
mod matmul;
mod moments;
pub(crate) mod normalize;
#[cfg(test)]
pub(crate) mod plain;
pub(crate) mod pool;
#[cfg(test)]
mod roofline;
pub(crate) mod rows;
mod scratch;
mod tail;
mod winograd;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The values of a contiguous f32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [f32]> {
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
    read_all("reading", &[tensor.contiguous()?], |values| work(values[0]))
}

/// Calls `work` with the values of contiguous tensors of the CPU.
pub(crate) fn read_all<R>(op: &str, tensors: &[Tensor], work: impl FnOnce(&[&[f32]]) -> R) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = Vec::with_capacity(guards.len());
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cpu(storage) => slices.push(values(storage, layout, op)?),
            other => bail!("{op}: expected a tensor on the CPU, got one on {:?}", other.device().location()),
        }
    }
    Ok(work(&slices))
}

/// Runs the loop compiled for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
