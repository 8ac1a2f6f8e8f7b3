//! Layers one after the other.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};

use crate::cpu::trunk::Trunk;
#[cfg(feature = "cuda")]
use crate::gpu::held::Held;
#[cfg(feature = "cuda")]
use crate::engine::{Engine, Setup};
use crate::{BatchNorm, Compute, Conv2d, Dense, Dropout, Mode, Network, Step, max_pool2d};

/// A layer of a [`Sequential`].
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the layers have their documentation")]
pub enum Layer {
    Conv2d(Conv2d),
    BatchNorm(BatchNorm),
    /// [`max_pool2d`].
    MaxPool2d {
        size: usize,
        stride: usize,
    },
    Dropout(Dropout),
    /// `(batch, …)` to `(batch, values)`.
    Flatten,
    Dense(Dense),
}

impl Layer {
    /// The output for a batch.
    ///
    /// # Errors
    /// As the layer's.
    pub fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::Conv2d(conv) => conv.forward(xs),
            Self::BatchNorm(norm) => norm.forward(xs, mode),
            Self::MaxPool2d { size, stride } => max_pool2d(xs, *size, *stride),
            Self::Dropout(dropout) => dropout.forward(xs, mode),
            Self::Flatten => xs.flatten_from(1),
            Self::Dense(dense) => dense.forward(xs),
        }
    }
}

/// What follows a convolution or a dense layer before the next, in this order, each or none.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub norm: Option<BatchNorm>,
    /// 2×2 maximum pooling.
    pub pool: bool,
    pub dropout: Option<Dropout>,
}

impl Tail {
    /// What `layers` begin with, of a layer of this many channels, and the number of layers that it is.
    pub fn of(layers: &[Layer], channels: usize) -> (Self, usize) {
        let mut tail = Self { norm: None, pool: false, dropout: None };
        let mut taken = 0;
        if let Some(Layer::BatchNorm(norm)) = layers.first()
            && norm.channels() == channels
        {
            tail.norm = Some(norm.clone());
            taken += 1;
        }
        if let Some(Layer::MaxPool2d { size: 2, stride: 2 }) = layers.get(taken) {
            tail.pool = true;
            taken += 1;
        }
        if let Some(Layer::Dropout(dropout)) = layers.get(taken) {
            tail.dropout = Some(*dropout);
            taken += 1;
        }
        (tail, taken)
    }
}

/// Layers one after the other: the same numbers as calling them in turn, to rounding, and faster.
///
/// The convolutions it begins with, each with what follows it (batch norm, 2×2 max pooling, dropout, in this
/// order, each or none), run as one on the CPU: in few passes over memory that is kept from step to step. The other
/// layers are called in turn. On a CUDA device a sequence of convolutions, a flattening and dense layers, each with what
/// follows it, runs as one from end to end in inference, and trains by [`Network::engine`]; other sequences are called
/// in turn there.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarMap;
/// use fer_nn::{Layer, Network, Sequential, Step, conv2d, dense, var_builder};
///
/// let vars = VarMap::new();
/// let vb = var_builder(&vars, 42, &Device::Cpu);
/// let net = Sequential::new(vec![
///     Layer::Conv2d(conv2d(1, 8, 3, Default::default(), vb.pp("conv"))?),
///     Layer::MaxPool2d { size: 2, stride: 2 },
///     Layer::Flatten,
///     Layer::Dense(dense(8 * 4 * 4, 3, Default::default(), vb.pp("out"))?),
/// ]);
/// let images = Tensor::ones((2, 1, 8, 8), DType::F32, &Device::Cpu)?;
/// let gradients = net.gradients(&images, Step::default(), &mut |logits| logits.sum_all())?;
/// assert!(vars.all_vars().iter().all(|var| gradients.get(var).is_some()));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sequential {
    trunk: Trunk,
    layers: Vec<Layer>,
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the CPU has one way to compute"))]
    compute: Compute,
    #[cfg(feature = "cuda")]
    held: Held,
}

impl Sequential {
    /// A network of these layers.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self {
            trunk: Trunk::of(&layers),
            layers,
            compute: Compute::default(),
            #[cfg(feature = "cuda")]
            held: Held::default(),
        }
    }

    /// The same network, computing like this on a card.
    pub fn compute(self, compute: Compute) -> Self {
        Self { compute, ..Self::new(self.layers) }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layers that run as one on such images, and those after them.
    fn split(&self, images: &Tensor) -> Option<(&Trunk, &[Layer])> {
        let fused = images.device().is_cpu() && images.dtype() == DType::F32 && self.trunk.layers() > 0;
        fused.then(|| (&self.trunk, &self.layers[self.trunk.layers()..]))
    }
}

/// The output of `layers`, one after the other.
fn in_turn(layers: &[Layer], images: &Tensor, mode: Mode) -> Result<Tensor> {
    layers.iter().try_fold(images.clone(), |xs, layer| layer.forward(&xs, mode))
}

impl Network for Sequential {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if mode == Mode::Eval
            && let Some(logits) = self.held.infer(&self.layers, images, self.compute)?
        {
            return Ok(logits);
        }
        match (mode, self.split(images)) {
            (Mode::Eval, Some((trunk, head))) => in_turn(head, &trunk.infer(images)?, mode),
            _ => in_turn(&self.layers, images, mode),
        }
    }

    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        let mode = Mode::Train(step);
        let Some((trunk, head)) = self.split(images).filter(|(trunk, _)| trunk.holds_its_variables()) else {
            return loss(&in_turn(&self.layers, images, mode)?)?.backward();
        };
        let (features, pass) = trunk.forward(images, step)?;
        let features = Var::from_tensor(&features)?;
        let mut gradients = loss(&in_turn(head, features.as_tensor(), mode)?)?.backward()?;
        if let Some(of_features) = gradients.remove(&features) {
            pass.backward(&of_features, &mut gradients)?;
        }
        Ok(gradients)
    }

    #[cfg(feature = "cuda")]
    fn engine(&self, setup: &Setup) -> Result<Option<Box<dyn Engine>>> {
        crate::gpu::held::training(&self.layers, setup, self.compute)
    }
}
