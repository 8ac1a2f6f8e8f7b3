//! A network with its memory on a card: where every stage reads and writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::args::State;
use super::memory::Memory;
use super::parameters::{Parameters, Values};
use super::reuse::Reuse;
use super::sizes::{Sizes, Unsupported, Work, is_result, sizes, stage_of};
use super::spread::BLOCKS;
use super::{Address, Gpu, Half, Kind};
use crate::Precision;
use crate::plan::{Plan, Source};

/// The most tiles of channels: those of 65,536 channels one by one.
pub(super) const TILES: usize = 2048;

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
    pub tickets: Address,
    prepared: BTreeMap<usize, Prepared<G>>,
}

/// The memory of a stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageMemory {
    /// The result of its convolution, or what else it computes first.
    pub c: Address,
    /// Its output.
    pub z: Address,
    pub norm: Address,
    pub slopes: Address,
    pub moments: Address,
    pub back: Back,
}

/// Where a stage's gradients go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Back {
    /// The gradient of the output.
    pub dz: Address,
    /// The gradient of the result.
    pub da: Address,
    /// The gradient of the input, unless that is the images.
    pub input: Option<Gradient>,
    /// The gradient of what is added.
    pub skip: Option<Gradient>,
    /// A gradient of the input before it is added.
    pub scratch: Address,
}

/// Where a gradient is written, or added to what others wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gradient {
    pub at: Address,
    pub adds: bool,
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
            tickets: memory.zeros::<u32>(TILES)?,
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

    /// Chooses how batches of `batch` images are computed, once.
    pub fn prepare(&mut self, batch: usize) -> Result<()> {
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
            let trains = self.request.trains;
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
        match stage_of(self.plan.stages[i].input) {
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

/// Results and outputs that are all kept, for the backward pass.
fn kept_values<G: Gpu>(plan: &Plan, sizes: &[Sizes], memory: &Memory<G>) -> Result<Vec<StageMemory>> {
    let mut stages: Vec<StageMemory> = Vec::with_capacity(sizes.len());
    for (stage, sizes) in plan.stages.iter().zip(sizes) {
        let z = memory.bytes(sizes.out_bytes())?;
        let c = match (sizes.work, stage_of(stage.input)) {
            (Work::Input, Some(input)) => stages[input].z,
            _ if is_result(stage, sizes) => z,
            _ => memory.bytes(sizes.result_bytes())?,
        };
        stages.push(StageMemory { c, z, ..Default::default() });
    }
    Ok(stages)
}

/// One result at a time, and outputs that share memory when nobody reads them any more.
fn passing_values<G: Gpu>(plan: &Plan, sizes: &[Sizes], memory: &Memory<G>) -> Result<Vec<StageMemory>> {
    let last_reader = |stage: usize| {
        let source = Source::Of(stage);
        let reads = |i: &usize| plan.stages[*i].input == source || plan.stages[*i].skip == Some(source);
        match plan.outputs.contains(&source) {
            true => usize::MAX,
            false => (stage..sizes.len()).rev().find(reads).unwrap_or(stage),
        }
    };
    let c = memory.bytes(sizes.iter().map(Sizes::result_bytes).max().unwrap_or(0))?;
    let (mut reuse, mut lots) = (Reuse::default(), Vec::with_capacity(sizes.len()));
    for (i, (stage, sizes)) in plan.stages.iter().zip(sizes).enumerate() {
        let ends = |source: Option<Source>| source.and_then(stage_of).filter(|&of| last_reader(of) == i);
        let (input, skip) = (ends(Some(stage.input)), ends(stage.skip));
        // The result is in memory of its own before the output is written, unless they are one.
        let early = !matches!(sizes.work, Work::Input) && !is_result(stage, sizes);
        let early_input = input.filter(|_| early && skip != input);
        early_input.iter().for_each(|&of: &usize| reuse.give(lots[of]));
        lots.push(reuse.take(sizes.out_bytes()));
        let late_input = input.filter(|_| early_input.is_none());
        late_input.iter().for_each(|&of| reuse.give(lots[of]));
        skip.filter(|_| skip != input).iter().for_each(|&of| reuse.give(lots[of]));
        if last_reader(i) == i {
            reuse.give(lots[i]);
        }
    }
    let places = reuse.allocate(memory)?;
    let mut stages: Vec<StageMemory> = Vec::with_capacity(sizes.len());
    for ((stage, sizes), lot) in plan.stages.iter().zip(sizes).zip(lots) {
        let z = lot.at(&places);
        let c = match (sizes.work, stage_of(stage.input)) {
            (Work::Input, Some(input)) => stages[input].z,
            _ if is_result(stage, sizes) => z,
            _ => c,
        };
        stages.push(StageMemory { c, z, ..Default::default() });
    }
    Ok(stages)
}

/// The places of all gradients of values, from the last stage to the first: that of an output is there from the first stage
/// that writes or adds to it until its own stage has gone back.
fn gradients<G: Gpu>(
    plan: &Plan,
    sizes: &[Sizes],
    memory: &Memory<G>,
    stages: &mut [StageMemory],
) -> Result<()> {
    let last = sizes.len().saturating_sub(1);
    let mut reuse = Reuse::default();
    let mut of_outputs = vec![None; sizes.len()];
    let mut lots = Vec::with_capacity(sizes.len());
    for (i, (stage, of_stage)) in plan.stages.iter().zip(sizes).enumerate().rev() {
        let dz = *of_outputs[i].get_or_insert_with(|| reuse.take(of_stage.out_bytes()));
        let mut contribute = |reuse: &mut Reuse, of: usize| match of_outputs[of] {
            Some(lot) => (lot, true),
            None => (*of_outputs[of].insert(reuse.take(sizes[of].out_bytes())), false),
        };
        let skip = stage.skip.and_then(stage_of).map(|skip| contribute(&mut reuse, skip));
        // Of what is only added, and where nothing follows the result, this gradient is the result's.
        let passes = i == last || matches!(of_stage.work, Work::Input) || is_result(stage, of_stage);
        let da = (!passes).then(|| reuse.take(of_stage.result_bytes()));
        if !passes {
            reuse.give(dz);
        }
        let input = stage_of(stage.input).map(|input| contribute(&mut reuse, input));
        let scratch = match (input, of_stage.work, stage_of(stage.input)) {
            (Some((_, true)), Work::Convolution(_), Some(input)) => {
                Some(reuse.take(sizes[input].out_bytes()))
            }
            _ => None,
        };
        scratch.iter().chain(&da).for_each(|&lot| reuse.give(lot));
        if passes {
            reuse.give(dz);
        }
        lots.push((dz, da.unwrap_or(dz), input, skip, scratch));
    }
    let places = reuse.allocate(memory)?;
    for (stage, (dz, da, input, skip, scratch)) in stages.iter_mut().rev().zip(lots) {
        let gradient = |(lot, adds): (super::reuse::Lot, bool)| Gradient { at: lot.at(&places), adds };
        stage.back = Back {
            dz: dz.at(&places),
            da: da.at(&places),
            input: input.map(gradient),
            skip: skip.map(gradient),
            scratch: scratch.map_or(Address::NONE, |lot| lot.at(&places)),
        };
    }
    Ok(())
}
