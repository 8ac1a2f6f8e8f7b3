//! A network with its memory on a card: where every stage reads and writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::args::State;
use super::assignment::{StageMemory, gradients, kept_values, passing_values};
use super::card::{Address, Gpu, Half, Kind};
use super::memory::Memory;
use super::parameters::{Parameters, Values};
use super::sizes::{Sizes, Unsupported, Work, sizes};
use super::spread::BLOCKS;
use crate::Precision;
use crate::plan::{Plan, Source};

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Batch statistics and dropout.
    Train,
    /// Moving statistics.
    Eval,
}

/// What a program is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub precision: Precision,
    /// Whether there is a backward pass.
    pub trains: bool,
    /// Whether moving averages of the weights are kept.
    pub averages: bool,
}

/// A network with its memory.
pub(super) struct Program<G: Gpu> {
    pub memory: Memory<G>,
    pub parameters: Parameters,
    pub plan: Plan,
    request: Request,
    /// The images `(batch, channels, height, width)` of the largest batch.
    capacity: [usize; 4],
    /// The images, channels before positions.
    pub images: Address,
    /// The images, channels last, in f32 and in bfloat16, for stages that read them so.
    pub(super) inputs: [Address; 2],
    pub(super) stages: Vec<StageMemory>,
    pub gradients: Address,
    pub half_gradients: Address,
    pub state: Address,
    pub(super) partial: Address,
    pub(super) direct_partial: Address,
    prepared: BTreeMap<usize, Prepared<G>>,
}

/// What depends on the number of images in a batch.
pub(super) struct Prepared<G: Gpu> {
    pub sizes: Vec<Sizes>,
    pub convolutions: Vec<Option<G::Convolution>>,
}

impl<G: Gpu> Program<G> {
    /// A network for batches of at most these images, or what keeps the card from recording it.
    pub fn new(
        plan: &Plan,
        gpu: Arc<G>,
        images: [usize; 4],
        request: Request,
    ) -> Result<std::result::Result<Self, Unsupported>> {
        let sizes = match sizes(plan, images, request.precision)? {
            Ok(sizes) => sizes,
            Err(unsupported) => return Ok(Err(unsupported)),
        };
        let memory = Memory::new(gpu);
        let parameters = Parameters::new(plan, &sizes, &memory, request.averages)?;
        let mut stages = match request.trains {
            true => kept_values(plan, &sizes, &memory)?,
            false => passing_values(plan, &sizes, &memory)?,
        };
        for ((stage, sizes), memory_of) in plan.stages.iter().zip(&sizes).zip(&mut stages) {
            let n = sizes.channels;
            memory_of.norm = memory.holding(&[vec![0.0_f32; n], vec![1.0; n], vec![0.0; n]].concat())?;
            memory_of.slopes = memory.holding(&[vec![1.0_f32; n], vec![0.0; 2 * n]].concat())?;
            if stage.norm.is_some() {
                memory_of.moments = memory.zeros::<f64>(2 * n)?;
            }
        }
        if request.trains {
            gradients(plan, &sizes, &memory, &mut stages)?;
        }
        let trained = |len: usize| if request.trains { len } else { 0 };
        let pixels = images.iter().product();
        let direct = |sizes: &Sizes| match sizes.work {
            Work::Direct(_) => BLOCKS * sizes.channels * sizes.weight_layout()[2],
            _ => 0,
        };
        let most = |of: &dyn Fn(&Sizes) -> usize| sizes.iter().map(of).max().unwrap_or(0);
        let mut this = Self {
            images: memory.zeros::<f32>(pixels)?,
            inputs: Default::default(),
            gradients: memory.zeros::<f32>(trained(parameters.len))?,
            half_gradients: memory.zeros::<Half>(trained(parameters.halves))?,
            state: memory.zeros::<State>(1)?,
            partial: memory.zeros::<f64>(2 * BLOCKS * most(&|sizes| sizes.channels).max(1))?,
            direct_partial: memory.zeros::<f32>(trained(most(&direct)))?,
            prepared: BTreeMap::new(),
            capacity: images,
            memory,
            parameters,
            plan: plan.clone(),
            request,
            stages,
        };
        for (kind, at) in [(Kind::F32, 0), (Kind::Bf16, 1)] {
            let reads = |(i, sizes): (usize, &Sizes)| {
                this.plan.stages[i].input == Source::Images && !this.reads_planar(sizes) && sizes.kind == kind
            };
            if sizes.iter().enumerate().any(reads) {
                this.inputs[at] = this.memory.bytes(pixels * kind.size())?;
            }
        }
        Ok(Ok(this))
    }

    pub(super) fn gpu(&self) -> &G {
        &self.memory.gpu
    }

    /// The images `(batch, channels, height, width)` of the largest batch.
    pub(super) fn capacity(&self) -> [usize; 4] {
        self.capacity
    }

    /// Chooses how batches of `batch` images are computed, once: the first call for a batch says whether gradients are too.
    pub fn prepare(&mut self, batch: usize, trains: bool) -> Result<()> {
        if self.prepared.contains_key(&batch) {
            return Ok(());
        }
        let [most, channels, height, width] = self.capacity;
        let sizes = match sizes(&self.plan, [batch, channels, height, width], self.request.precision)? {
            Ok(sizes) if batch <= most => sizes,
            _ => bail!("a batch of {batch} images, where there is memory for {most}"),
        };
        let mut convolutions = Vec::with_capacity(sizes.len());
        for (sizes, stage) in sizes.iter().zip(&self.stages) {
            convolutions.push(match sizes.work {
                Work::Convolution(shape) => {
                    let gradients = [trains && stage.back.input.is_some(), trains];
                    Some(self.gpu().convolution(&shape, sizes.kind, gradients)?)
                }
                _ => None,
            });
        }
        self.prepared.insert(batch, Prepared { sizes, convolutions });
        Ok(())
    }

    pub(super) fn prepared(&self, batch: usize) -> Result<&Prepared<G>> {
        match self.prepared.get(&batch) {
            Some(prepared) => Ok(prepared),
            None => bail!("batches of {batch} images were not prepared"),
        }
    }

    /// The last stage: its result, which are the logits without their bias, and the place of their gradient.
    pub fn logits(&self) -> [Address; 2] {
        self.stages.last().map_or([Address::NONE; 2], |last| [last.c, last.back.da])
    }

    /// The number of logits of an image.
    pub fn classes(&self, batch: usize) -> Result<usize> {
        Ok(self.prepared(batch)?.sizes.last().map_or(0, |last| last.channels))
    }

    /// The bias of the logits, and its gradient.
    pub fn last_bias(&self, phase: Phase) -> [Address; 2] {
        match self.parameters.places.last().and_then(|places| places.bias) {
            Some(at) => [self.values(phase).weights, self.gradients].map(|values| values.after::<f32>(at)),
            None => [Address::NONE; 2],
        }
    }

    /// The values that a pass computes with.
    pub(super) fn values(&self, phase: Phase) -> Values {
        match (phase, self.parameters.averages) {
            (Phase::Eval, Some(averages)) => averages,
            _ => self.parameters.trained,
        }
    }

    /// What stage `i` reads.
    pub(super) fn source(&self, i: usize, sizes: &Sizes) -> Address {
        match self.plan.stages[i].input.of() {
            Some(before) => self.stages[before].z,
            None if self.reads_planar(sizes) => self.images,
            None => self.inputs[usize::from(sizes.kind == Kind::Bf16)],
        }
    }

    /// Whether a stage that reads the images reads them as they are.
    fn reads_planar(&self, sizes: &Sizes) -> bool {
        matches!(sizes.work, Work::Direct(_)) || (sizes.kind == Kind::F32 && self.capacity[1] == 1)
    }
}
