//! Batch normalisation (Ioffe and Szegedy 2015) as Keras or PyTorch train it.

use candle_core::{ModuleT, Result, Tensor, Var, bail};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use super::base::Layer;
use crate::channel::constants;
use crate::kernel::{differentiable, gradient_sums, moments};
use crate::plan::{MovingVariance, Norm, Op};
use crate::primitive::Primitive;
use crate::{Mode, Step, initializer};

/// The settings of a [`BatchNorm`]. The default is Keras'; a file gives all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormConfig {
    /// The weight of the old value in the moving statistics, in 0..=1. (candle's and PyTorch's is that of the
    /// new value.)
    pub momentum: f64,
    /// Added to the variance before its root, at least 0.
    pub epsilon: f64,
    /// Which variance enters the moving variance.
    pub moving_variance: MovingVariance,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3, moving_variance: MovingVariance::Keras2 }
    }
}

impl BatchNormConfig {
    /// PyTorch's `BatchNorm2d()`: momentum 0.9 in Keras' sense, ε 1e-5, the unbiased variance.
    pub const fn pytorch() -> Self {
        Self { momentum: 0.9, epsilon: 1e-5, moving_variance: MovingVariance::Unbiased }
    }

    fn check(&self) -> Result<()> {
        let Self { momentum, epsilon, .. } = *self;
        if !(0.0..=1.0).contains(&momentum) {
            bail!("batch_norm: momentum is {momentum}, it must be at least 0 and at most 1")
        }
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            bail!("batch_norm: epsilon is {epsilon}, it must be a finite number, 0 or more")
        }
        Ok(())
    }
}

/// Normalises every channel: by the batch's statistics in training, by the moving ones otherwise.
///
/// # Shapes
/// - input and output `(batch, channels, …)`
/// - weight (gamma), bias (beta), running_mean and running_var `(channels)`
#[derive(Clone, Debug)]
pub struct BatchNorm {
    name: String,
    norm: Norm,
}

impl BatchNorm {
    /// A layer of these tensors: gamma, beta, and the moving mean and variance.
    ///
    /// # Errors
    /// When a setting is not allowed, or the tensors are not vectors of one length.
    pub fn new(
        [weight, bias]: [Tensor; 2],
        [running_mean, running_var]: [Var; 2],
        config: BatchNormConfig,
    ) -> Result<Self> {
        config.check()?;
        let channels = weight.dims1()?;
        for (name, tensor) in
            [("bias", &bias), ("running_mean", &running_mean), ("running_var", &running_var)]
        {
            if tensor.dims() != [channels] {
                bail!("batch_norm: the {name} must have shape ({channels}), got {:?}", tensor.dims())
            }
        }
        let BatchNormConfig { momentum, epsilon, moving_variance } = config;
        let norm = Norm { weight, bias, running_mean, running_var, momentum, epsilon, moving_variance };
        Ok(Self { name: String::new(), norm })
    }

    /// The same layer under a name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Gamma.
    pub fn weight(&self) -> &Tensor {
        &self.norm.weight
    }

    /// Beta.
    pub fn bias(&self) -> &Tensor {
        &self.norm.bias
    }

    /// The moving mean and variance.
    pub fn running(&self) -> [&Tensor; 2] {
        [self.norm.running_mean.as_tensor(), self.norm.running_var.as_tensor()]
    }

    /// The output for a batch; in training the moving statistics are updated.
    ///
    /// A batch of one vector is its own mean: the output is beta and the moving variance shrinks.
    ///
    /// # Errors
    /// When the input is empty or does not have this layer's channels.
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        const OP: &str = "batch_norm";
        let norm = &self.norm;
        let channels = norm.channels();
        if xs.rank() < 2 || xs.dims()[1] != channels || xs.elem_count() == 0 {
            bail!("batch_norm: expected (batch, {channels}, …), got {:?}", xs.dims())
        }
        let xs = xs.contiguous()?;
        let count = xs.elem_count() / channels;
        let training = matches!(mode, Mode::Train(_));
        let (mean, var) = if training {
            let (mean, var) = moments(&xs)?;
            norm.update_moving(&mean, &var, count, xs.rank())?;
            (mean, var)
        } else {
            norm.moving()?
        };
        let (epsilon, values) = (norm.epsilon, |tensor: &Tensor| tensor.to_vec1::<f32>());
        let of_channels = constants(&mean, &var, &values(&norm.weight)?, epsilon);
        let y = Primitive::BatchNorm(&of_channels, &values(&norm.bias)?).run(OP, &[&xs], xs.dims())?;
        // Outside training the moments are constants, and the sums do not matter.
        let count = if training { count as f64 } else { f64::INFINITY };
        let dims = xs.dims().to_vec();
        differentiable(OP, &[&xs, &norm.weight, &norm.bias], y, &dims.clone(), move |operands, _, dy| {
            let x = operands[0];
            let sums = gradient_sums(x, dy, &of_channels)?;
            let dx = match x.track_op() {
                true => {
                    let kernel = Primitive::BatchNormInput(&of_channels, &sums, count);
                    Some(kernel.tensor("batch_norm backward input", &[x, dy], &dims)?)
                }
                false => None,
            };
            let of = |value: fn(&(f64, f64)) -> f64| {
                let values: Vec<f32> = sums.iter().map(|sums| value(sums) as f32).collect();
                Tensor::from_vec(values, sums.len(), x.device())
            };
            Ok(vec![dx, Some(of(|sums| sums.0)?), Some(of(|sums| sums.1)?)])
        })
    }
}

/// Makes a batch normalisation: gamma 1, beta 0, moving mean 0, moving variance 1.
///
/// # Errors
/// When a setting is not allowed, or the builder holds other shapes under these names.
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
    let weight = vb.get_with_hints(channels, "weight", initializer::ONES)?;
    let bias = vb.get_with_hints(channels, "bias", initializer::ZEROS)?;
    let running = [state("running_mean", initializer::ZEROS)?, state("running_var", initializer::ONES)?];
    Ok(BatchNorm::new([weight, bias], running, config)?.named(vb.prefix()))
}

impl Layer for BatchNorm {
    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        self.forward(xs, mode)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn op(&self) -> Op {
        Op::BatchNorm(self.norm.clone())
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.forward(xs, if train { Mode::Train(Step::default()) } else { Mode::Eval })
    }
}
