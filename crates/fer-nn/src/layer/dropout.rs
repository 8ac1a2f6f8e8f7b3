//! Dropout whose masks come from the seed (Srivastava et al. 2014).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use candle_core::{ModuleT, Result, Tensor, bail};
use fer_rand::{Purpose, Stream};

use super::base::Layer;
use crate::kernel::differentiable;
use crate::plan::Op;
use crate::primitive::Primitive;
use crate::{Mask, Mode, Step};

/// Inverted dropout: in training every value is set to 0 with probability `rate`, the others are scaled by
/// 1/(1 − rate). The mask of a step depends on the seed, the epoch, the step and the layer's name alone.
#[derive(Clone, Debug)]
pub struct Dropout {
    name: String,
    mask: Mask,
    /// Calls through candle's `ModuleT`, which knows no steps.
    calls: Arc<AtomicU32>,
}

impl Dropout {
    /// The input itself in inference; the masked input in training.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        match mode {
            Mode::Train(step) => match self.mask.of(step) {
                Some((rate, stream)) => masked(xs, rate, stream),
                None => Ok(xs.clone()),
            },
            Mode::Eval => Ok(xs.clone()),
        }
    }
}

/// The mask is drawn again in the backward pass instead of being kept.
fn masked(xs: &Tensor, rate: f32, stream: Stream) -> Result<Tensor> {
    const OP: &str = "dropout";
    let y = Primitive::Dropout(rate, stream).run(OP, &[xs], xs.dims())?;
    differentiable(OP, &[xs], y, xs.dims(), move |_, _, dy| Ok(vec![Some(masked(dy, rate, stream)?)]))
}

/// Makes a dropout; layers of different names draw different masks.
///
/// # Errors
/// When `rate` is not in 0..1.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{Mode, Step, dropout};
///
/// let dropout = dropout(0.4, "dropout_1")?;
/// let xs = Tensor::ones(10_000, DType::F32, &Device::Cpu)?;
/// let ys: Vec<f32> = dropout.forward(&xs, Mode::Train(Step::default()))?.to_vec1()?;
/// let kept = ys.iter().filter(|&&y| y != 0.0).count();
/// assert!((5_800..6_200).contains(&kept) && ys.iter().all(|&y| y == 0.0 || y == 1.0 / 0.6));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dropout(rate: f32, name: &str) -> Result<Dropout> {
    if !(0.0..1.0).contains(&rate) {
        bail!("dropout {name}: rate is {rate}, it must be at least 0 and below 1")
    }
    let mask = Mask { rate, purpose: Purpose::named(name) };
    Ok(Dropout { name: name.to_owned(), mask, calls: Arc::default() })
}

impl Layer for Dropout {
    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(xs, mode)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn op(&self) -> Op {
        Op::Dropout(self.mask)
    }
}

impl ModuleT for Dropout {
    /// In training every call draws the next mask.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if !train {
            return Ok(xs.clone());
        }
        let step = self.calls.fetch_add(1, Ordering::Relaxed);
        self.forward(xs, Mode::Train(Step { step, ..Step::default() }))
    }
}
