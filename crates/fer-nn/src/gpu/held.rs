//! The inference that a network keeps on a CUDA device.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::DeviceId;
use candle_core::{DType, Result, Tensor};

use super::Inference;
use super::cuda::Cuda;
use crate::Compute;
use crate::plan::Plan;

/// The inference of a network, made at its first use. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Kept>>);

#[derive(Default)]
enum Kept {
    #[default]
    Empty,
    /// On a card.
    Made(Box<OnCard>),
    /// The card does not record this network for images of this size; that was said.
    Unsupported([usize; 3]),
}

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
    /// All outputs for images on a CUDA device; `None` for other images, and for a network that a card does not record.
    pub fn infer(&self, plan: &Plan, images: &Tensor, compute: Compute) -> Result<Option<Vec<Tensor>>> {
        let (Ok(device), DType::F32, Ok(dims)) =
            (images.device().as_cuda_device(), images.dtype(), images.dims4())
        else {
            return Ok(None);
        };
        let dims: [usize; 4] = dims.into();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = match &*held {
            Kept::Empty => false,
            Kept::Made(card) => card.device == device.id() && card.inference.takes(dims),
            Kept::Unsupported(image) if *image == dims[1..] => return Ok(None),
            Kept::Unsupported(_) => false,
        };
        if !fits {
            // The memory of the last one is free for this one.
            let cuda = match mem::take(&mut *held) {
                Kept::Made(card) if card.device == device.id() && card.cuda.compute() == compute => card.cuda,
                #[allow(clippy::arc_with_non_send_sync, reason = "see OnCard")]
                _ => Arc::new(Cuda::new(device, compute)?),
            };
            *held = match Inference::new(plan, cuda.clone(), dims, compute.precision)? {
                Ok(inference) => Kept::Made(Box::new(OnCard { device: device.id(), cuda, inference })),
                Err(unsupported) => {
                    tracing::debug!("{}", unsupported.message(plan));
                    Kept::Unsupported([dims[1], dims[2], dims[3]])
                }
            };
        }
        let Kept::Made(card) = &mut *held else { return Ok(None) };
        let outputs = card.inference.forward(images)?;
        if card.cuda.is_per_thread() {
            // Another thread's pass would not wait for this one, which has the same memory.
            card.cuda.synchronize()?;
        }
        Ok(Some(outputs))
    }
}
