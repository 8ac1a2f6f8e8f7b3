//! Networks of layers: one after the other, or a graph with additions and several outputs.

mod inference;
mod pieces;
pub(crate) mod probe;

use std::sync::{Arc, OnceLock};

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, bail};

use crate::engine::{Engine, Setup};
#[cfg(feature = "cuda")]
use crate::gpu::held::Held;
use crate::layer::Layer;
use crate::plan::{LayerInfo, Node, Op, Plan, Source};
use crate::{Compute, Mode, Network, Step};
use pieces::Pieces;

/// The output of a layer in a [`Graph`], or the graph's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(Source);

/// A network of layers that read each other: the same numbers as calling them in turn, to rounding, and faster.
///
/// On the CPU, convolutions with what follows them (activation, batch norm, addition, 2×2 maximum pooling, dropout) run as
/// one, in few passes over memory that is kept from step to step; other layers are called in turn. On a CUDA device, a
/// network of convolutions, global mean and dense layers, with what follows them, runs as one from end to end, in inference
/// and, by [`Network::engine`], in training. What runs otherwise is named in a debug line.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use fer_nn::{Activation, BatchNormConfig, GlobalMean, Graph, Mode, Network, batch_norm, conv2d, dense, var_builder};
///
/// let vb = var_builder(&candle_nn::VarMap::new(), 42, &Device::Cpu);
/// let mut graph = Graph::new();
/// let images = graph.images();
/// let x = graph.add(images, conv2d(1, 8, 3, Default::default(), vb.pp("conv"))?);
/// let x = graph.add(x, Activation::Relu);
/// let y = graph.add(x, conv2d(8, 8, 3, Default::default(), vb.pp("inner"))?);
/// let y = graph.add(y, batch_norm(8, BatchNormConfig::default(), vb.pp("norm"))?);
/// let sum = graph.sum(x, y);
/// let features = graph.add(sum, GlobalMean);
/// let logits = graph.add(features, dense(8, 3, Default::default(), vb.pp("out"))?);
/// graph.outputs([logits, features]);
///
/// let faces = Tensor::zeros((2, 1, 24, 24), DType::F32, &Device::Cpu)?;
/// assert_eq!(graph.forward(&faces, Mode::Eval)?.dims(), [2, 3]);
/// assert_eq!(graph.forward_all(&faces, Mode::Eval)?[1].dims(), [2, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    layers: Vec<Option<Arc<dyn Layer>>>,
    nodes: Vec<Node>,
    outputs: Vec<Source>,
    pieces: OnceLock<Arc<Pieces>>,
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the CPU has one way to compute"))]
    compute: Compute,
    #[cfg(feature = "cuda")]
    held: Held,
}

impl Graph {
    /// A graph without layers, whose output is its input.
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph's input.
    pub fn images(&self) -> Value {
        Value(Source::Images)
    }

    /// A layer that reads `input`. Until [`outputs`](Self::outputs) says otherwise, the graph's output is that of the layer
    /// added last.
    pub fn add(&mut self, input: Value, layer: impl Layer + 'static) -> Value {
        self.add_shared(input, Arc::new(layer))
    }

    /// [`add`](Self::add) of a layer that is chosen at run time.
    pub fn add_shared(&mut self, input: Value, layer: Arc<dyn Layer>) -> Value {
        let (name, op) = (layer.name().to_owned(), layer.op());
        let variables = layer.variables();
        self.push(Node { name, op, variables, inputs: vec![input.0] }, Some(layer))
    }

    /// The sum of two values of one shape.
    pub fn sum(&mut self, a: Value, b: Value) -> Value {
        let inputs = vec![a.0, b.0];
        self.push(Node { name: String::new(), op: Op::Sum, variables: Vec::new(), inputs }, None)
    }

    fn push(&mut self, mut node: Node, layer: Option<Arc<dyn Layer>>) -> Value {
        if node.name.is_empty() {
            let kind = match &node.op {
                Op::Conv2d(_) => "conv2d",
                Op::ConvTranspose2d(_) => "conv_transpose2d",
                Op::Dense(_) => "dense",
                Op::BatchNorm(_) => "batch_norm",
                Op::Activation(_) => "activation",
                Op::PRelu(_) => "prelu",
                Op::MaxPool2d(_) => "max_pool2d",
                Op::MeanPool2d(_) => "mean_pool2d",
                Op::GlobalMean => "global_mean",
                Op::Dropout(_) => "dropout",
                Op::Flatten => "flatten",
                Op::Upsample(_) => "upsample",
                Op::PadChannels(_) => "pad_channels",
                Op::Sum => "sum",
                Op::Own => "layer",
            };
            let number = |n: &usize| self.nodes.iter().all(|node| node.name != format!("{kind}_{n}"));
            node.name = format!("{kind}_{}", (1..).find(number).unwrap_or_default());
        }
        self.nodes.push(node);
        self.layers.push(layer);
        self.changed();
        Value(Source::Of(self.nodes.len() - 1))
    }

    /// Names the layer added last.
    pub fn rename_last(&mut self, name: impl Into<String>) {
        if let Some(node) = self.nodes.last_mut() {
            node.name = name.into();
        }
        self.changed();
    }

    /// What the graph gives; [`Network::forward`] gives the first.
    pub fn outputs(&mut self, outputs: impl IntoIterator<Item = Value>) {
        self.outputs = outputs.into_iter().map(|value| value.0).collect();
        self.changed();
    }

    /// Forgets what was made of the graph as it was.
    fn changed(&mut self) {
        self.pieces = OnceLock::new();
        #[cfg(feature = "cuda")]
        {
            self.held = Held::default();
        }
    }

    /// The same network, computing like this on a card.
    pub fn compute(self, compute: Compute) -> Self {
        Self {
            compute,
            #[cfg(feature = "cuda")]
            held: Held::default(),
            ..self
        }
    }

    /// The layers for an input of these dimensions, `(batch, channels, height, width)`: names, shapes, variables.
    ///
    /// # Errors
    /// When a layer cannot have the input that it gets, with the layer's name.
    pub fn layers(&self, input: &[usize]) -> Result<Vec<LayerInfo>> {
        let own = |i: usize, input: &[usize]| match &self.layers[i] {
            Some(layer) => layer.output(input),
            None => bail!("it has no layer"),
        };
        self.pieces()?.plan.table(input, own)
    }

    /// All outputs for a batch, in their order. Images of bytes are taken as numbers from 0 to 255.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward_all(&self, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let as_they_are = images.device().is_cpu() && mode == Mode::Eval && self.pieces()?.reads_bytes();
        if images.dtype() == DType::U8 && !as_they_are {
            return self.forward_all(&images.to_dtype(DType::F32)?, mode);
        }
        #[cfg(feature = "cuda")]
        if mode == Mode::Eval
            && let Some(outputs) = self.held.infer(self.plan()?, images, self.compute)?
        {
            return Ok(outputs);
        }
        match mode {
            Mode::Eval => self.pieces()?.infer(&self.layers, images),
            Mode::Train(_) => self.pieces()?.in_turn(&self.layers, images, mode),
        }
    }

    /// The graph lowered.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn plan(&self) -> Result<&Plan> {
        Ok(&self.pieces()?.plan)
    }

    /// All outputs in inference, every layer called.
    #[cfg(test)]
    pub(crate) fn in_turn(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        self.pieces()?.in_turn(&self.layers, images, Mode::Eval)
    }

    fn pieces(&self) -> Result<&Arc<Pieces>> {
        let is_own = |source: &Source, end: usize| source.of().is_none_or(|of| of < end);
        for (i, node) in self.nodes.iter().enumerate() {
            if !node.inputs.iter().all(|source| is_own(source, i)) {
                bail!("layer `{}`: its input is a value of another graph", node.name)
            }
        }
        if !self.outputs.iter().all(|source| is_own(source, self.nodes.len())) {
            bail!("an output is a value of another graph")
        }
        Ok(self.pieces.get_or_init(|| {
            let last = match self.nodes.len() {
                0 => Source::Images,
                n => Source::Of(n - 1),
            };
            let outputs = if self.outputs.is_empty() { vec![last] } else { self.outputs.clone() };
            Arc::new(Pieces::of(Plan::of(self.nodes.clone(), &outputs)))
        }))
    }
}

impl Network for Graph {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        match self.forward_all(images, mode)?.into_iter().next() {
            Some(output) => Ok(output),
            None => bail!("the graph has no output"),
        }
    }

    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        self.pieces()?.gradients(&self.layers, images, step, loss)
    }

    #[cfg(feature = "cuda")]
    fn has_engine(&self) -> bool {
        self.plan().is_ok_and(crate::gpu::is_on_cuda)
    }

    #[cfg(feature = "cuda")]
    fn engine(&self, setup: &Setup) -> Result<Option<Box<dyn Engine>>> {
        crate::gpu::on_cuda(self.plan()?, setup, self.compute)
    }

    #[cfg(not(feature = "cuda"))]
    fn engine(&self, _: &Setup) -> Result<Option<Box<dyn Engine>>> {
        Ok(None)
    }
}

/// Layers one after the other: a [`Graph`] without branches.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarMap;
/// use fer_nn::{Flatten, MaxPool2d, Network, Sequential, Step, conv2d, dense, var_builder};
///
/// let vars = VarMap::new();
/// let vb = var_builder(&vars, 42, &Device::Cpu);
/// let net = Sequential::new()
///     .add(conv2d(1, 8, 3, Default::default(), vb.pp("conv"))?)
///     .add(MaxPool2d::new(2, 2)?)
///     .add(Flatten)
///     .add(dense(8 * 4 * 4, 3, Default::default(), vb.pp("out"))?);
/// let images = Tensor::ones((2, 1, 8, 8), DType::F32, &Device::Cpu)?;
/// let gradients = net.gradients(&images, Step::default(), &mut |logits| logits.sum_all())?;
/// assert!(vars.all_vars().iter().all(|var| gradients.get(var).is_some()));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sequential(Graph);

impl Sequential {
    /// No layers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more layer.
    #[allow(clippy::should_implement_trait, reason = "candle's own `Sequential` calls it so")]
    pub fn add(mut self, layer: impl Layer + 'static) -> Self {
        self.push(Arc::new(layer));
        self
    }

    /// One more layer.
    pub fn push(&mut self, layer: Arc<dyn Layer>) {
        let last = match self.0.nodes.len() {
            0 => Source::Images,
            n => Source::Of(n - 1),
        };
        self.0.add_shared(Value(last), layer);
    }

    /// The same network, computing like this on a card.
    pub fn compute(self, compute: Compute) -> Self {
        Self(self.0.compute(compute))
    }

    /// The layers as a graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }
}

impl Network for Sequential {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.forward(images, mode)
    }

    fn gradients(
        &self,
        images: &Tensor,
        step: Step,
        loss: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<GradStore> {
        self.0.gradients(images, step, loss)
    }

    fn has_engine(&self) -> bool {
        self.0.has_engine()
    }

    fn engine(&self, setup: &Setup) -> Result<Option<Box<dyn Engine>>> {
        self.0.engine(setup)
    }
}
