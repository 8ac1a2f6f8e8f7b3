//! Single layers on a CUDA device: candle's tensors in, its storage out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::driver::DevicePtrMut;
use candle_core::{CudaDevice, CudaStorage, Result, Tensor, bail};

use super::card::{Address, Gpu};
use super::cuda::Cuda;
use super::driver::of_driver;
use super::planar::{Planar, planes_of};
use crate::Compute;
use crate::channel::Channel;
use crate::primitive::Primitive;

thread_local! {
    /// Cards by device. Single layers compute in f32, and always give the same bits: they are not told whether that is asked for.
    static CARDS: RefCell<HashMap<DeviceId, Arc<Cuda>>> = RefCell::default();
}

fn card(device: &CudaDevice) -> Result<Arc<Cuda>> {
    let kept = CARDS.with_borrow(|cards| cards.get(&device.id()).cloned());
    match kept {
        Some(card) => Ok(card),
        None => {
            #[allow(clippy::arc_with_non_send_sync, reason = "shared within this thread")]
            let card = Arc::new(Cuda::new(device, Compute { deterministic: true, ..Compute::default() })?);
            CARDS.with_borrow_mut(|cards| cards.insert(device.id(), card.clone()));
            Ok(card)
        }
    }
}

/// The result, of dimensions `dims`, of a primitive of contiguous f32 tensors of one device.
pub(crate) fn run(
    op: &str,
    primitive: &Primitive,
    operands: &[Tensor],
    dims: &[usize],
) -> Result<CudaStorage> {
    let Some(first) = operands.first() else { bail!("{op}: no operand") };
    let device = first.device().as_cuda_device()?.clone();
    let card = card(&device)?;
    let stream = device.cuda_stream();
    let mut result = stream.alloc_zeros::<f32>(dims.iter().product()).map_err(of_driver)?;
    let to = Address(result.device_ptr_mut(&stream).0);
    let work = |places: &[Address]| Planar::new(card.clone()).perform(primitive, places, first.dims(), to);
    with_places(&card, operands, &mut Vec::new(), &work).map_err(|e| e.context(op.to_owned()))?;
    Ok(CudaStorage::wrap_cuda_slice(result, device))
}

/// The mean and the biased variance of every channel of `(batch, channels, …)`.
pub(crate) fn moments(x: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let card = card(x.device().as_cuda_device()?)?;
    let mut found = Default::default();
    card.read(x, &mut |at| {
        found = Planar::new(card.clone()).moments(at, planes_of(x.dims()))?.into();
        Ok(())
    })?;
    Ok(found)
}

/// (Σ dy·x̂, Σ dy) of every channel of x and dy, `(batch, channels, …)` each.
pub(crate) fn gradient_sums(operands: &[Tensor; 2], channels: &[Channel]) -> Result<Vec<(f64, f64)>> {
    let [x, dy] = operands;
    let card = card(x.device().as_cuda_device()?)?;
    let mut found = Vec::new();
    card.read(x, &mut |x_at| {
        card.read(dy, &mut |dy_at| {
            found = Planar::new(card.clone()).gradient_sums([x_at, dy_at], channels, planes_of(x.dims()))?;
            Ok(())
        })
    })?;
    Ok(found)
}

/// Calls `work` with the places of all tensors' values. All work is on the device's one stream, so that nothing has to wait.
fn with_places(
    card: &Cuda,
    tensors: &[Tensor],
    places: &mut Vec<Address>,
    work: &dyn Fn(&[Address]) -> Result<()>,
) -> Result<()> {
    match tensors {
        [] => work(places),
        [first, rest @ ..] => card.read(first, &mut |at| {
            places.push(at);
            with_places(card, rest, places, work)
        }),
    }
}
