//! What a [`Sequential`](crate::Sequential) keeps on a CUDA device, and single layers on one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut};
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Tensor, bail};

use super::cuda::{Cuda, of_driver};
use super::layers::Layers;
use super::{Address, Chain, Inference, Training};
use crate::on_device::{OnDevice, Setup};
use crate::{Compute, Layer};

/// The inference of a network, made at its first use. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<OnCard>>>);

struct OnCard {
    device: DeviceId,
    cuda: Arc<Cuda>,
    inference: Inference<Cuda>,
}

// SAFETY: all handles and memory in it are its own, no other thread has any of them, and each call binds the context to
// its thread first.
unsafe impl Send for OnCard {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Held {
    /// The logits of images on a CUDA device; `None` when the layers are no chain.
    pub fn infer(&self, layers: &[Layer], images: &Tensor, compute: Compute) -> Result<Option<Tensor>> {
        let (Ok(device), DType::F32, Ok(dims)) =
            (images.device().as_cuda_device(), images.dtype(), images.dims4())
        else {
            return Ok(None);
        };
        let dims: [usize; 4] = dims.into();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |card: &OnCard| card.device == device.id() && card.inference.takes(dims);
        if !held.as_ref().is_some_and(fits) {
            let Some(chain) = Chain::of(layers) else { return Ok(None) };
            // The memory of the last one is free for this one.
            *held = None;
            #[allow(clippy::arc_with_non_send_sync, reason = "see OnCard")]
            let cuda = Arc::new(Cuda::new(device, compute)?);
            let inference = Inference::new(chain, cuda.clone(), dims, compute.precision)?;
            let Some(inference) = inference else { return Ok(None) };
            *held = Some(OnCard { device: device.id(), cuda, inference });
        }
        let Some(card) = &mut *held else { return Ok(None) };
        let logits = card.inference.forward(images)?;
        if card.cuda.is_per_thread() {
            // Another thread's pass would not wait for this one, which has the same memory.
            card.cuda.synchronize()?;
        }
        Ok(Some(logits))
    }
}

/// A training on a CUDA device; `None` when the layers are no chain of variables.
pub(crate) fn training(
    layers: &[Layer],
    setup: &Setup,
    compute: Compute,
) -> Result<Option<Box<dyn OnDevice>>> {
    let Some(chain) = Chain::of(layers).filter(Chain::is_trainable) else { return Ok(None) };
    let Ok(device) = chain.stages[0].bias.device().as_cuda_device().cloned() else { return Ok(None) };
    #[allow(clippy::arc_with_non_send_sync, reason = "a training stays with its thread")]
    let cuda = Arc::new(Cuda::new(&device, compute)?);
    let training = Training::new(chain, cuda, setup, compute)?;
    Ok(training.map(|training| Box::new(training) as Box<dyn OnDevice>))
}

thread_local! {
    /// For single layers, which compute in f32.
    static CARDS: RefCell<HashMap<DeviceId, Arc<Cuda>>> = RefCell::default();
}

fn card(device: &CudaDevice) -> Result<Arc<Cuda>> {
    let kept = CARDS.with_borrow(|cards| cards.get(&device.id()).cloned());
    match kept {
        Some(card) => Ok(card),
        None => {
            #[allow(clippy::arc_with_non_send_sync, reason = "shared within this thread")]
            let card = Arc::new(Cuda::new(device, Compute::default())?);
            CARDS.with_borrow_mut(|cards| cards.insert(device.id(), card.clone()));
            Ok(card)
        }
    }
}

/// A tensor on a CUDA device: its storage and its layout.
pub(crate) type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// Runs a layer: `work` gets the places of the operands and of the result.
pub(crate) fn run<const N: usize>(
    op: &str,
    operands: [Operand; N],
    shape: impl Into<Shape>,
    work: impl FnOnce(&Layers<Cuda>, [Address; N], Address) -> Result<()>,
) -> Result<(CudaStorage, Shape)> {
    let (device, shape) = (operands[0].0.device().clone(), shape.into());
    let stream = device.cuda_stream();
    let mut result = stream.alloc_zeros::<f32>(shape.elem_count()).map_err(of_driver)?;
    let to = Address(result.device_ptr_mut(&stream).0);
    work(&Layers::new(card(&device)?), places(op, operands)?, to)?;
    Ok((CudaStorage::wrap_cuda_slice(result, device), shape))
}

/// Runs a layer whose result is two rows of one f64 a channel.
pub(crate) fn run_to_host<const N: usize>(
    op: &str,
    operands: [Operand; N],
    work: impl FnOnce(&Layers<Cuda>, [Address; N]) -> Result<[Vec<f64>; 2]>,
) -> Result<(CudaStorage, Shape)> {
    let device = operands[0].0.device().clone();
    let [first, second] = work(&Layers::new(card(&device)?), places(op, operands)?)?;
    let shape = (2, first.len()).into();
    let result = device.clone_htod(&[first, second].concat())?;
    Ok((CudaStorage::wrap_cuda_slice(result, device), shape))
}

/// The places of contiguous f32 tensors' values. All work is on the device's one stream, so that nothing has to wait.
fn places<const N: usize>(op: &str, operands: [Operand; N]) -> Result<[Address; N]> {
    let mut places = [Address::NONE; N];
    for (place, (storage, layout)) in places.iter_mut().zip(operands) {
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!("{op} works on contiguous tensors, got {layout:?}")
        };
        let slice = storage.as_cuda_slice::<f32>()?;
        *place = Address(slice.device_ptr(slice.stream()).0).after::<f32>(start);
    }
    Ok(places)
}

/// The values of a contiguous f32 tensor, on the host.
pub(crate) fn values(op: &str, (storage, layout): Operand) -> Result<Vec<f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("{op} works on contiguous tensors, got {layout:?}")
    };
    storage.device().clone_dtoh(&storage.as_cuda_slice::<f32>()?.slice(start..end))
}
