//! Dropout whose masks come from the seed (Srivastava et al. 2014).

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use fer_rand::{Purpose, Stream};

#[cfg(feature = "cuda")]
use crate::gpu::held;
use crate::{Mode, Step, cpu};

/// Inverted dropout: in training every value is set to 0 with probability `rate`, the others are scaled by
/// 1/(1 − rate). The mask of a step depends on the seed, the epoch, the step and the layer's name alone.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f32,
    pub(crate) purpose: Purpose,
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

    /// See [`threshold`]; none when everything is kept.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn threshold(&self) -> Option<(u32, f32)> {
        (self.rate > 0.0).then(|| threshold(self.rate))
    }
}

/// The least random word that keeps its value (u = word·2⁻³² ≥ rate, decided on the integers), and the factor of the
/// values that are kept.
pub(crate) fn threshold(rate: f32) -> (u32, f32) {
    ((f64::from(rate) * 4_294_967_296.0) as u32, 1.0 / (1.0 - rate))
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

/// `(batch, channels, positions)`; a vector is of channels.
fn planes(layout: &Layout) -> [usize; 3] {
    match layout.dims() {
        [] => [1, 1, 1],
        [channels] => [1, *channels, 1],
        [batch, channels, area @ ..] => [*batch, *channels, area.iter().product()],
    }
}

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = cpu::values(x, lx, self.name())?;
        let [_, channels, area] = planes(lx);
        let y = cpu::elementwise::dropout(x, channels, area, self.rate, self.mask);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        held::run(self.name(), [(x, lx)], lx.shape().clone(), |layers, [x], y| {
            layers.dropout(x, y, self.rate, self.mask, planes(lx))
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        dy.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}
