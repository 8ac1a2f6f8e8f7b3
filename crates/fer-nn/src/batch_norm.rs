//! Batch normalisation (Ioffe and Szegedy 2015) as Keras trains it.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, Var, bail};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::cpu::{self, normalize::Channel};
#[cfg(feature = "cuda")]
use crate::gpu::held;
use crate::{Mode, initializer};

/// Which variance of a batch enters the moving variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MovingVariance {
    /// N/(N − 1) times the biased variance for images, the biased variance for vectors: TensorFlow 2.1.
    #[default]
    Notebook,
    /// The biased variance everywhere: Keras 3.
    Biased,
}

/// The settings of a [`BatchNorm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// The weight of the old value in the moving statistics, in 0..=1. (candle's and PyTorch's is that of the
    /// new value.)
    pub momentum: f64,
    /// Added to the variance before its root.
    pub epsilon: f64,
    /// Which variance enters the moving variance.
    pub moving_variance: MovingVariance,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3, moving_variance: MovingVariance::Notebook }
    }
}

impl BatchNormConfig {
    /// The factor of the biased variance of `count` values, of a tensor of `rank` dimensions, that enters the moving one.
    pub(crate) fn correction(&self, count: usize, rank: usize) -> f64 {
        match self.moving_variance {
            MovingVariance::Notebook if rank > 2 => count as f64 / (count - 1).max(1) as f64,
            _ => 1.0,
        }
    }
}

/// Normalises every channel: by the batch's statistics in training, by the moving ones otherwise.
///
/// # Shapes
/// - input and output `(batch, channels, …)`
/// - weight (gamma), bias (beta), running_mean and running_var `(channels)`
#[derive(Clone, Debug)]
pub struct BatchNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) running_mean: Var,
    pub(crate) running_var: Var,
    pub(crate) config: BatchNormConfig,
}

impl BatchNorm {
    /// The output for a batch; in training the moving statistics are updated.
    ///
    /// A batch of one vector is its own mean: the output is beta and the moving variance shrinks.
    ///
    /// # Errors
    /// When the input is empty or does not have this layer's channels.
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        let channels = self.weight.elem_count();
        if xs.rank() < 2 || xs.dims()[1] != channels || xs.elem_count() == 0 {
            bail!("batch_norm: expected (batch, {channels}, …), got {:?}", xs.dims())
        }
        let xs = xs.contiguous()?;
        let training = matches!(mode, Mode::Train(_));
        let moments = if training {
            let moments = xs.apply_op1_no_bwd(&Moments)?;
            let [mean, var] = [0, 1].map(|row| moments.get(row)?.to_vec1::<f64>());
            self.update_moving(&mean?, &var?, xs.elem_count() / channels, xs.rank())?;
            moments
        } else {
            let (mean, var) = self.moving()?;
            Tensor::from_vec([mean, var].concat(), (2, channels), xs.device())?
        };
        let op = Forward { moments, epsilon: self.config.epsilon, training };
        xs.apply_op3(&self.weight.contiguous()?, &self.bias.contiguous()?, op)
    }

    /// The number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// The moving means and variances.
    pub(crate) fn moving(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let row = |var: &Var| var.as_tensor().to_dtype(DType::F64)?.to_vec1();
        Ok((row(&self.running_mean)?, row(&self.running_var)?))
    }

    /// What each channel is normalised by, given the means and variances.
    pub(crate) fn constants(&self, mean: &[f64], var: &[f64]) -> Result<Vec<Channel>> {
        cpu::read(&self.weight, |gamma| constants(mean, var, gamma, self.config.epsilon))
    }

    /// Takes the means and biased variances of a batch into the moving ones; `count` is the number of values that
    /// each was taken over, of a tensor of `rank` dimensions.
    pub(crate) fn update_moving(&self, mean: &[f64], var: &[f64], count: usize, rank: usize) -> Result<()> {
        let momentum = self.config.momentum;
        let correction = self.config.correction(count, rank);
        for (moving, new, correction) in
            [(&self.running_mean, mean, 1.0), (&self.running_var, var, correction)]
        {
            let new = Tensor::from_slice(new, new.len(), moving.device())?;
            let new = (new * ((1.0 - momentum) * correction))?.to_dtype(moving.dtype())?;
            moving.set(&((moving.as_tensor() * momentum)? + new)?.detach())?;
        }
        Ok(())
    }
}

fn constants(mean: &[f64], var: &[f64], gamma: &[f32], epsilon: f64) -> Vec<Channel> {
    let channel = |((&gamma, &mean), &var): ((&f32, &f64), &f64)| {
        let inv_std = (var + epsilon).sqrt().recip();
        Channel { mean, inv_std, gamma: f64::from(gamma) }
    };
    gamma.iter().zip(mean).zip(var).map(channel).collect()
}

/// Makes a batch normalisation: gamma 1, beta 0, moving mean 0, moving variance 1.
///
/// # Errors
/// When the builder holds other shapes under these names.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use candle_nn::VarMap;
/// use fer_nn::{BatchNormConfig, Mode, Step, batch_norm, var_builder};
///
/// let vars = VarMap::new();
/// let vb = var_builder(&vars, 42, &Device::Cpu);
/// let norm = batch_norm(1, BatchNormConfig { epsilon: 0.0, ..Default::default() }, vb.pp("norm"))?;
/// let xs = Tensor::new(&[[1_f32], [3.0]], &Device::Cpu)?;
/// let ys = norm.forward(&xs, Mode::Train(Step::default()))?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[-1.0], [1.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn batch_norm(channels: usize, config: BatchNormConfig, vb: VarBuilder) -> Result<BatchNorm> {
    let state = |name, init| Var::from_tensor(&vb.get_with_hints(channels, name, init)?);
    Ok(BatchNorm {
        weight: vb.get_with_hints(channels, "weight", initializer::ONES)?,
        bias: vb.get_with_hints(channels, "bias", initializer::ZEROS)?,
        running_mean: state("running_mean", initializer::ZEROS)?,
        running_var: state("running_var", initializer::ONES)?,
        config,
    })
}

/// `(channels, values of one channel of one image)`.
fn planes(layout: &Layout) -> (usize, usize) {
    let dims = layout.dims();
    (dims[1], dims[2..].iter().product())
}

/// `(batch, channels, values of one channel of one image)`.
#[cfg(feature = "cuda")]
fn batch_planes(layout: &Layout) -> [usize; 3] {
    let (channels, area) = planes(layout);
    [layout.dims()[0], channels, area]
}

/// `(2, channels)`: the means and the biased variances, in f64.
struct Moments;

impl CustomOp1 for Moments {
    fn name(&self) -> &'static str {
        "batch_norm moments"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (channels, area) = planes(lx);
        let (mean, var) = cpu::normalize::batch_statistics(cpu::values(x, lx, self.name())?, channels, area);
        Ok((CpuStorage::F64([mean, var].concat()), (2, channels).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        held::run_to_host(self.name(), [(x, lx)], |layers, [x]| layers.moments(x, batch_planes(lx)))
    }
}

#[derive(Clone)]
struct Forward {
    /// `(2, channels)`: means and variances, in f64.
    moments: Tensor,
    epsilon: f64,
    /// Whether the moments depend on the input.
    training: bool,
}

impl Forward {
    fn channels(&self, gamma: &[f32]) -> Result<Vec<Channel>> {
        let [mean, var] = [0, 1].map(|row| self.moments.get(row)?.to_vec1::<f64>());
        Ok(constants(&mean?, &var?, gamma, self.epsilon))
    }
}

impl CustomOp3 for Forward {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
        beta: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = cpu::values(x, lx, self.name())?;
        let gamma = cpu::values(gamma, lg, self.name())?;
        let beta = cpu::values(beta, lb, self.name())?;
        let y = cpu::normalize::forward(x, &self.channels(gamma)?, beta, planes(lx).1);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        gamma: &CudaStorage,
        lg: &Layout,
        beta: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let of_channels = self.channels(&held::values(self.name(), (gamma, lg))?)?;
        let beta = held::values(self.name(), (beta, lb))?;
        held::run(self.name(), [(x, lx)], lx.shape().clone(), |layers, [x], y| {
            layers.batch_norm(x, y, &of_channels, &beta, batch_planes(lx))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let sums = x.apply_op3_no_bwd(&dy, gamma, &GradientSums(self.clone()))?;
        let dx = if x.track_op() {
            let op = BackwardInput { forward: self.clone(), sums: sums.clone() };
            Some(x.apply_op3_no_bwd(&dy, gamma, &op)?)
        } else {
            None
        };
        let sums = sums.to_dtype(x.dtype())?;
        Ok((dx, Some(sums.get(0)?), Some(sums.get(1)?)))
    }
}

/// `(2, channels)`: the gradients of gamma and of beta, in f64.
struct GradientSums(Forward);

impl CustomOp3 for GradientSums {
    fn name(&self) -> &'static str {
        "batch_norm gradient sums"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, dy) = (cpu::values(x, lx, self.name())?, cpu::values(dy, ld, self.name())?);
        let (channels, area) = planes(lx);
        let of_channels = self.0.channels(cpu::values(gamma, lg, self.name())?)?;
        let sums = cpu::normalize::gradient_sums(x, dy, &of_channels, area);
        let (of_gamma, of_beta): (Vec<f64>, Vec<f64>) = sums.into_iter().unzip();
        Ok((CpuStorage::F64([of_gamma, of_beta].concat()), (2, channels).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
        gamma: &CudaStorage,
        lg: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let of_channels = self.0.channels(&held::values(self.name(), (gamma, lg))?)?;
        held::run_to_host(self.name(), [(x, lx), (dy, ld)], |layers, operands| {
            let sums = layers.batch_norm_sums(operands, &of_channels, batch_planes(lx))?;
            let (of_gamma, of_beta) = sums.into_iter().unzip();
            Ok([of_gamma, of_beta])
        })
    }
}

struct BackwardInput {
    forward: Forward,
    sums: Tensor,
}

impl CustomOp3 for BackwardInput {
    fn name(&self) -> &'static str {
        "batch_norm backward input"
    }

    /// Outside training the moments are constants, and the sums do not matter.
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        dy: &CpuStorage,
        ld: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, dy) = (cpu::values(x, lx, self.name())?, cpu::values(dy, ld, self.name())?);
        let (channels, area) = planes(lx);
        let of_channels = self.forward.channels(cpu::values(gamma, lg, self.name())?)?;
        let [of_gamma, of_beta] = [0, 1].map(|row| self.sums.get(row)?.to_vec1::<f64>());
        let sums: Vec<_> = of_gamma?.into_iter().zip(of_beta?).collect();
        let count = if self.forward.training { (x.len() / channels) as f64 } else { f64::INFINITY };
        let dx = cpu::normalize::input_gradient(x, dy, &of_channels, &sums, count, area);
        Ok((CpuStorage::F32(dx), lx.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        dy: &CudaStorage,
        ld: &Layout,
        gamma: &CudaStorage,
        lg: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let planes = batch_planes(lx);
        let of_channels = self.forward.channels(&held::values(self.name(), (gamma, lg))?)?;
        let [of_gamma, of_beta] = [0, 1].map(|row| self.sums.get(row)?.to_vec1::<f64>());
        let sums: Vec<_> = of_gamma?.into_iter().zip(of_beta?).collect();
        let count = if self.forward.training { (planes[0] * planes[2]) as f64 } else { f64::INFINITY };
        held::run(self.name(), [(x, lx), (dy, ld)], lx.shape().clone(), |layers, operands, dx| {
            layers.batch_norm_input(operands, dx, &of_channels, &sums, count, planes)
        })
    }
}
