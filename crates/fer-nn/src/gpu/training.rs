//! A training whose data, weights and optimiser live on a card.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::args::{LossArgs, State};
use super::batches::{Batch, Batches, Made};
use super::card::{Address, Gpu};
use super::optimizer::Optimizer;
use super::program::{Phase, Program, Request};
use super::sizes::{Unsupported, trainable};
use super::spread::THREADS;
use crate::engine::{Engine, EpochPlan, Samples, Setup, Slots, StepResult, Update};
use crate::plan::Plan;
use crate::{Compute, Precision};

/// Steps of a launch, where there are as many of a kind in a row: the card waits for the host between launches.
const TOGETHER: usize = 8;

/// A training on a card. See [`Engine`].
pub(crate) struct Training<G: Gpu> {
    program: Program<G>,
    train: Batches,
    valid: Option<Batches>,
    optimizer: Optimizer,
    smoothing: f32,
    class_weights: Address,
    seed: u64,
    targets: Address,
    results: Results,
    /// The kinds of steps that were done once, call by call.
    prepared: BTreeSet<Step>,
    /// Recordings of so many steps of a kind.
    graphs: BTreeMap<(Step, usize), G::Graph>,
    /// The epoch that was begun.
    epoch: Option<u32>,
    /// Whether the averages are still to be the variables' values.
    averages_are_new: bool,
}

/// A kind of steps, which are recorded apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    phase: Phase,
    /// Images in the batch.
    batch: usize,
    made: Made,
    /// Whether gradients are clipped.
    clips: bool,
}

/// What is measured in each step.
struct Results {
    losses: Address,
    correct: Address,
}

impl<G: Gpu> Training<G> {
    /// A training of the network, or what keeps the card from recording it.
    pub fn new(
        plan: &Plan,
        gpu: Arc<G>,
        setup: &Setup,
        compute: Compute,
    ) -> Result<std::result::Result<Self, Unsupported>> {
        if let Err(unsupported) = trainable(plan) {
            return Ok(Err(unsupported));
        }
        let &Setup { train, valid, treatment, label_smoothing, class_weights, seed, .. } = setup;
        let sets = [Some(train), valid];
        let most = sets.into_iter().flatten().map(|set| set.batch_size.min(set.len())).max().unwrap_or(0);
        let images = [most, 1, train.height, train.width];
        let deviation = treatment.deviation;
        if !(deviation.is_finite() && deviation > 0.0) {
            bail!("the images' deviation is {deviation}, it must be a finite number over 0")
        }
        let Compute { precision, .. } = compute;
        let advice = |e: candle_core::Error| e.context(advice(most, precision));
        if most == 0 {
            bail!("{} samples in batches of {}", train.len(), train.batch_size)
        }
        let request = Request { precision, trains: true, averages: setup.averages };
        let mut program = match Program::new(plan, gpu, images, request).map_err(advice)? {
            Ok(program) => program,
            Err(unsupported) => return Ok(Err(unsupported)),
        };
        program.prepare(most, true).map_err(advice)?;
        let classes = program.classes(most)?;
        sets.into_iter().flatten().try_for_each(|samples| samples.check(classes))?;
        let size = |samples: &Samples| (samples.height, samples.width);
        if let Some(valid) = valid.filter(|valid| size(valid) != size(train)) {
            bail!("images of {:?} pixels to train on, of {:?} to validate on", size(train), size(valid))
        }
        let batches = |samples: &Samples, is_trained_on| {
            Batches::new(samples, treatment, &program.memory, is_trained_on)
        };
        let train = batches(train, true)?;
        let valid = valid.map(|valid| batches(valid, false)).transpose()?;
        for (batches, trains) in iter::once((&train, true)).chain(valid.iter().map(|valid| (valid, false))) {
            for len in batches.lens() {
                program.prepare(len, trains).map_err(advice)?;
            }
        }
        let memory = &program.memory;
        let steps = train.steps().max(valid.as_ref().map_or(0, Batches::steps));
        let weights: Vec<f32> =
            class_weights.unwrap_or_default().iter().map(|&weight| weight as f32).collect();
        if !weights.is_empty() && weights.len() != classes {
            bail!("{} class weights of {classes} classes", weights.len())
        }
        Ok(Ok(Self {
            optimizer: Optimizer::new(setup.rule, setup.decays_all, train.steps(), &program)?,
            smoothing: label_smoothing as f32,
            class_weights: memory.holding(&weights)?,
            seed,
            targets: memory.zeros::<f32>(most * classes)?,
            results: Results { losses: memory.zeros::<f64>(steps)?, correct: memory.zeros::<u32>(steps)? },
            prepared: BTreeSet::new(),
            graphs: BTreeMap::new(),
            epoch: None,
            averages_are_new: setup.averages,
            program,
            train,
            valid,
        }))
    }

    fn gpu(&self) -> &G {
        &self.program.memory.gpu
    }

    /// Queues steps of a phase on the next batches, of so many images each. The first of a kind is done call by call, so that
    /// whatever is prepared at its first use is prepared before it is recorded; the others are replayed.
    fn steps(&mut self, phase: Phase, batches: &[usize], clips: bool) -> Result<()> {
        let made = if phase == Phase::Train { self.train.made() } else { Made::default() };
        for alike in batches.chunk_by(|a, b| a == b) {
            let step = Step { phase, batch: alike[0], made, clips };
            let mut left = alike.len();
            if !self.prepared.contains(&step) {
                self.queue(step)?;
                self.prepared.insert(step);
                left -= 1;
            }
            while left > 0 {
                let count = if left < TOGETHER { 1 } else { TOGETHER };
                self.replay(step, count)?;
                left -= count;
            }
        }
        Ok(())
    }

    /// Queues so many steps of a kind by one launch.
    fn replay(&mut self, step: Step, count: usize) -> Result<()> {
        if !self.graphs.contains_key(&(step, count)) {
            let mut queue = || iter::repeat_n(step, count).try_for_each(|step| self.queue(step));
            let graph = self.gpu().record(&mut queue)?;
            self.graphs.insert((step, count), graph);
        }
        self.gpu().replay(&self.graphs[&(step, count)])
    }

    /// Queues the launches of a step. Everything that changes from step to step is on the card.
    fn queue(&self, Step { phase, batch, clips, .. }: Step) -> Result<()> {
        let program = &self.program;
        let trains = phase == Phase::Train;
        let batches = if trains { Some(&self.train) } else { self.valid.as_ref() };
        let Some(batches) = batches else { bail!("there are no samples to validate on") };
        let (images, targets, state) = (program.images, self.targets, program.state);
        batches.queue(Batch { images, targets, state, len: batch }, self.gpu())?;
        program.forward(batch, phase, false)?;
        let ([bias, dbias], [logits, dlogits]) = (program.last_bias(phase), program.logits());
        let if_trains = |address: Address| if trains { address } else { Address::NONE };
        let loss = LossArgs {
            c: logits,
            bias,
            targets,
            class_weights: if_trains(self.class_weights),
            dlogits: if_trains(dlogits),
            dbias,
            losses: self.results.losses,
            correct: self.results.correct,
            state,
            smoothing: self.smoothing,
            batch: batch as u32,
            classes: program.classes(batch)? as u32,
            last: u32::from(!trains),
        };
        self.gpu().launch("cross_entropy_f32", [1, 1], [THREADS, 1], &loss)?;
        if trains {
            program.backward(batch)?;
            self.optimizer.queue(clips, program)?;
        }
        Ok(())
    }

    /// Lets the next step be this one.
    fn go_to(&self, epoch: u32, step: usize) -> Result<()> {
        let state = State { seed: self.seed, epoch, step: step as u32 };
        self.program.memory.write(&[state], self.program.state)
    }

    /// Takes the variables' values.
    fn load(&mut self) -> Result<()> {
        let parameters = &self.program.parameters;
        parameters.load(self.gpu(), parameters.trained)?;
        self.load_averages()
    }

    /// Takes the variables' values for the averages too, where these are to begin.
    fn load_averages(&mut self) -> Result<()> {
        let parameters = &self.program.parameters;
        if let (true, Some(averages)) = (self.averages_are_new, parameters.averages) {
            parameters.load(self.gpu(), averages)?;
            self.averages_are_new = false;
        }
        Ok(())
    }

    fn results(&self, steps: Range<usize>, batches: &Batches) -> Result<Vec<StepResult>> {
        let memory = &self.program.memory;
        let losses: Vec<f64> = memory.read(self.results.losses.after::<f64>(steps.start), steps.len())?;
        let correct: Vec<u32> = memory.read(self.results.correct.after::<u32>(steps.start), steps.len())?;
        let result = |((step, loss), correct)| StepResult { samples: batches.len(step), loss, correct };
        Ok(steps.zip(losses).zip(correct).map(result).collect())
    }
}

/// What can be done where the memory does not suffice.
fn advice(batch: usize, precision: Precision) -> String {
    format!("batches of {batch} images in {precision} on the card (smaller ones need less memory, bf16 half)")
}

impl<G: Gpu> Engine for Training<G> {
    fn begin(&mut self, epoch: u32, plan: &EpochPlan) -> Result<()> {
        self.train.begin(epoch, plan, &self.program.memory)?;
        self.load()?;
        self.epoch = Some(epoch);
        Ok(())
    }

    fn train(&mut self, steps: Range<usize>, updates: &[Update]) -> Result<Vec<StepResult>> {
        self.train.check(&steps)?;
        let Some(epoch) = self.epoch else { bail!("no epoch was begun") };
        if updates.len() != steps.len() {
            bail!("{} updates for {} steps", updates.len(), steps.len())
        }
        self.optimizer.take(steps.start, updates, &self.program)?;
        self.go_to(epoch, steps.start)?;
        let clips = updates.iter().any(|update| update.clip > 0.0);
        let batches: Vec<usize> = steps.clone().map(|step| self.train.len(step)).collect();
        self.steps(Phase::Train, &batches, clips)?;
        self.results(steps, &self.train)
    }

    fn validate(&mut self, steps: Range<usize>) -> Result<Vec<StepResult>> {
        let Some(valid) = &self.valid else { bail!("there are no samples to validate on") };
        valid.check(&steps)?;
        let lens: Vec<usize> = steps.clone().map(|step| valid.len(step)).collect();
        if self.epoch.is_none() {
            self.load()?;
        }
        self.program.parameters.round_averages(self.gpu())?;
        self.program.use_moving_statistics(lens[0])?;
        self.go_to(0, steps.start)?;
        self.steps(Phase::Eval, &lens, false)?;
        match &self.valid {
            Some(valid) => self.results(steps, valid),
            None => Ok(Vec::new()),
        }
    }

    fn store(&mut self) -> Result<()> {
        self.program.parameters.store(self.gpu())
    }

    fn slots(&self) -> Result<Vec<Slots>> {
        self.optimizer.slots(&self.program)
    }

    fn set_slots(&mut self, slots: &[Slots]) -> Result<()> {
        // Those that are not named begin with the variables' values, as they would without this.
        if slots.iter().any(|slot| slot.average.is_some()) {
            self.load_averages()?;
        }
        self.optimizer.set_slots(slots, &self.program)
    }
}

/// The CUDA device that a plan's variables are on.
#[cfg(feature = "cuda")]
fn card_of(plan: &Plan) -> Option<candle_core::CudaDevice> {
    let tensor = plan.stages.iter().flat_map(super::sizes::parameters).next()?;
    tensor.device().as_cuda_device().ok().cloned()
}

/// Whether [`on_cuda`] gives a training, as far as can be told without images.
#[cfg(feature = "cuda")]
pub(crate) fn is_on_cuda(plan: &Plan) -> bool {
    card_of(plan).is_some() && trainable(plan).is_ok()
}

/// A training on a CUDA device; `None` where the variables are on another, or the network is not one that a card records.
#[cfg(feature = "cuda")]
pub(crate) fn on_cuda(plan: &Plan, setup: &Setup, compute: Compute) -> Result<Option<Box<dyn Engine>>> {
    use super::cuda::Cuda;

    let Some(device) = card_of(plan) else { return Ok(None) };
    #[allow(clippy::arc_with_non_send_sync, reason = "a training stays with its thread")]
    let cuda = Arc::new(Cuda::new(&device, compute)?);
    match Training::new(plan, cuda, setup, compute)? {
        Ok(training) => Ok(Some(Box::new(training))),
        Err(unsupported) => {
            tracing::debug!("{}", unsupported.message(plan));
            Ok(None)
        }
    }
}
