//! Inference on a card: one launch of recorded work a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::chain::Chain;
use super::pass::{Phase, Program};
use super::{Address, Gpu};
use crate::Precision;
use crate::gpu::args::LayoutArgs;
use crate::gpu::spread::THREADS;

/// A chain that answers.
pub(crate) struct Inference<G: Gpu> {
    program: Program<G>,
    /// Images in the largest batch.
    most: usize,
    image: [usize; 3],
    /// Whether the weights may change between two calls.
    variable: bool,
    loaded: bool,
    graphs: BTreeMap<usize, Option<G::Graph>>,
}

impl<G: Gpu> Inference<G> {
    /// A chain for batches of at most these images; `None` when the card's convolutions cannot have its shapes.
    pub fn new(chain: Chain, gpu: Arc<G>, images: [usize; 4], precision: Precision) -> Result<Option<Self>> {
        let [most, channels, height, width] = images;
        let variable = chain.stages.iter().any(|stage| stage.parameters().any(Tensor::is_variable));
        let program = Program::new(chain, gpu, images, precision, false)?;
        let image = [channels, height, width];
        Ok(program.map(|program| Self {
            program,
            most,
            image,
            variable,
            loaded: false,
            graphs: BTreeMap::new(),
        }))
    }

    /// Whether there is room for such images.
    pub fn takes(&self, images: [usize; 4]) -> bool {
        let [batch, image @ ..] = images;
        batch <= self.most && image == self.image
    }

    /// The logits `(batch, classes)` of images `(batch, channels, height, width)`.
    pub fn forward(&mut self, images: &Tensor) -> Result<Tensor> {
        let batch = images.dim(0)?;
        self.program.prepare(batch)?;
        let gpu = self.program.memory.gpu.clone();
        if self.variable || !self.loaded {
            self.program.parameters.load(&*gpu)?;
            self.program.use_moving_statistics(batch)?;
            self.loaded = true;
        }
        let to = self.program.images;
        gpu.read(images, &mut |from| copy(&*gpu, from, to, images.elem_count()))?;
        match self.graphs.get(&batch) {
            Some(Some(graph)) => gpu.replay(graph)?,
            Some(None) => {
                let graph = gpu.record(&mut || self.program.forward(batch, Phase::Eval, true))?;
                gpu.replay(&graph)?;
                self.graphs.insert(batch, Some(graph));
            }
            // Call by call, so that whatever is prepared at its first use is prepared before it is recorded.
            None => {
                self.program.forward(batch, Phase::Eval, true)?;
                self.graphs.insert(batch, None);
            }
        }
        let (from, classes) = (self.program.output(), self.program.chain.classes());
        gpu.tensor(&[batch, classes], &mut |to| copy(&*gpu, from, to, batch * classes))
    }
}

fn copy<G: Gpu>(gpu: &G, from: Address, to: Address, len: usize) -> Result<()> {
    let args =
        LayoutArgs { planar: from, last: to, outer: 1, channels: 1, area: len as u32, ..Default::default() };
    gpu.launch("to_channels_last_f32", [len.div_ceil(THREADS), 1], [THREADS, 1], &args)
}
