//! Inference on a card: one launch of recorded work a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::args::LayoutArgs;
use super::card::{Address, Gpu, Kind};
use super::program::{Phase, Program, Request};
use super::sizes::{Unsupported, parameters};
use super::spread::THREADS;
use crate::Precision;
use crate::plan::Plan;

/// A network that answers.
pub(crate) struct Inference<G: Gpu> {
    program: Program<G>,
    /// Images in the largest batch.
    most: usize,
    image: [usize; 3],
    /// Whether the weights may change between two calls.
    is_variable: bool,
    is_loaded: bool,
    graphs: BTreeMap<usize, Option<G::Graph>>,
}

impl<G: Gpu> Inference<G> {
    /// A network for batches of at most these images, or what keeps the card from recording it.
    pub fn new(
        plan: &Plan,
        gpu: Arc<G>,
        images: [usize; 4],
        precision: Precision,
    ) -> Result<std::result::Result<Self, Unsupported>> {
        let [most, image @ ..] = images;
        let is_variable = plan.stages.iter().any(|stage| parameters(stage).any(Tensor::is_variable));
        let request = Request { precision, trains: false, averages: false };
        let program = Program::new(plan, gpu, images, request)?;
        let graphs = BTreeMap::new();
        Ok(program.map(|program| Self { program, most, image, is_variable, is_loaded: false, graphs }))
    }

    /// Whether there is room for such images.
    pub fn takes(&self, images: [usize; 4]) -> bool {
        let [batch, image @ ..] = images;
        batch <= self.most && image == self.image
    }

    /// All outputs for images `(batch, channels, height, width)`.
    pub fn forward(&mut self, images: &Tensor) -> Result<Vec<Tensor>> {
        let batch = images.dim(0)?;
        self.program.prepare(batch, false)?;
        let gpu = self.program.memory.gpu.clone();
        if self.is_variable || !self.is_loaded {
            self.program.parameters.load(&*gpu, self.program.parameters.trained)?;
            self.program.use_moving_statistics(batch)?;
            self.is_loaded = true;
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
        let outputs = self.program.plan.outputs.iter().filter_map(|&output| output.of());
        outputs.map(|stage| self.output(batch, stage)).collect()
    }

    /// The output of a stage, as a tensor.
    fn output(&self, batch: usize, stage: usize) -> Result<Tensor> {
        let (gpu, sizes) = (&*self.program.memory.gpu, &self.program.prepared(batch)?.sizes[stage]);
        let (from, (height, width)) = (self.program.stages[stage].z, sizes.out_size());
        let [outer, channels, area] = [sizes.batch, sizes.channels, height * width].map(|n| n as u32);
        gpu.tensor(&sizes.out_dims(), &mut |planar| {
            let args = LayoutArgs {
                planar,
                last: if sizes.out == Kind::F32 { from } else { Address::NONE },
                half: if sizes.out == Kind::Bf16 { from } else { Address::NONE },
                outer,
                channels,
                area,
                unused: 0,
            };
            gpu.launch("to_planar_f32", [sizes.out_len().div_ceil(THREADS), 1], [THREADS, 1], &args)
        })
    }
}

fn copy<G: Gpu>(gpu: &G, from: Address, to: Address, len: usize) -> Result<()> {
    let args =
        LayoutArgs { planar: from, last: to, outer: 1, channels: 1, area: len as u32, ..Default::default() };
    gpu.launch("to_channels_last_f32", [len.div_ceil(THREADS), 1], [THREADS, 1], &args)
}
