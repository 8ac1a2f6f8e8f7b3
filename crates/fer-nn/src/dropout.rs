//! Dropout whose masks come from the seed (Srivastava et al. 2014).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use fer_rand::{Purpose, Stream};

use crate::{Mode, Step, cpu};

/// Inverted dropout: in training every value is set to 0 with probability `rate`, the others are scaled by
/// 1/(1 − rate). The mask of a step depends on the seed, the epoch, the step and the layer's name alone.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f32,
    purpose: Purpose,
}

impl Dropout {
    /// The input itself in inference; the masked input in training.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        match mode {
            Mode::Train(step) => match self.mask(step) {
                Some((rate, mask)) => xs.contiguous()?.apply_op1(Masked { rate, mask }),
                None => Ok(xs.clone()),
            },
            Mode::Eval => Ok(xs.clone()),
        }
    }

    /// The rate and the random numbers of a step; none when everything is kept.
    pub(crate) fn mask(&self, step: Step) -> Option<(f32, Stream)> {
        let Step { seed, epoch, step: item } = step;
        (self.rate > 0.0).then_some((self.rate, Stream { seed, purpose: self.purpose, epoch, item }))
    }
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
    Ok(Dropout { rate, purpose: Purpose::named(name) })
}

/// Its own gradient: the mask is drawn again in the backward pass instead of being kept.
#[derive(Clone, Copy)]
struct Masked {
    rate: f32,
    mask: Stream,
}

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::values(x, lx, self.name())?;
        let (channels, area) = match lx.dims() {
            [] => (1, 1),
            [channels] => (*channels, 1),
            [_, channels, area @ ..] => (*channels, area.iter().product()),
        };
        let y = cpu::elementwise::dropout(x, channels, area, self.rate, self.mask);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        dy.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}
