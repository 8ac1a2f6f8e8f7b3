//! A training whose data, weights and optimiser live on a card.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::args::{BatchArgs, BatchToneArgs, LossArgs, OptimizerArgs, State, ToneArgs, WarpArgs};
use super::chain::Chain;
use super::memory::Memory;
use super::pass::{Phase, Program};
use super::spread::THREADS;
use super::{Address, Gpu};
use crate::Compute;
use crate::on_device::{
    BatchResult, Edge, EpochPlan, Moments, OnDevice, Samples, Setup, Stretch, Tone, Update, Warp,
};

/// A training on a card. See [`OnDevice`].
pub(crate) struct Training<G: Gpu> {
    program: Program<G>,
    train: Set,
    valid: Option<Set>,
    edge: Edge,
    /// How images' values are changed, and by what.
    tones: Option<(Stretch, Address)>,
    smoothing: f32,
    class_weights: Address,
    seed: u64,
    batch_labels: Address,
    updates: Address,
    results: Results,
    moments: [Address; 2],
    graphs: BTreeMap<(Phase, usize), Option<G::Graph>>,
}

/// A set of samples on the card.
struct Set {
    samples: Samples,
    pixels: Address,
    labels: Address,
    order: Address,
    warps: Address,
}

/// What is measured in each step.
struct Results {
    losses: Address,
    correct: Address,
}

impl Set {
    fn new<G: Gpu>(samples: &Samples, memory: &Memory<G>, is_trained_on: bool) -> Result<Self> {
        let planned = if is_trained_on { samples.labels.len() } else { 0 };
        Ok(Self {
            pixels: memory.holding(&samples.pixels)?,
            labels: memory.holding(&samples.labels)?,
            order: memory.zeros::<u32>(planned)?,
            warps: memory.zeros::<WarpArgs>(planned)?,
            samples: samples.clone(),
        })
    }

    /// Images in step `step`.
    fn batch(&self, step: usize) -> usize {
        self.samples.batch_size.min(self.samples.labels.len() - step * self.samples.batch_size)
    }
}

impl<G: Gpu> Training<G> {
    /// A training of the chain; `None` when the card's convolutions cannot have its shapes.
    pub fn new(chain: Chain, gpu: Arc<G>, setup: &Setup, compute: Compute) -> Result<Option<Self>> {
        let &Setup { train, valid, edge, tones, label_smoothing, class_weights, seed } = setup;
        let sets = [Some(train), valid];
        for samples in sets.into_iter().flatten() {
            samples.check(chain.classes())?;
        }
        let batch = sets.into_iter().flatten().map(Samples::largest_batch).max().unwrap_or(0);
        let images = [batch, 1, train.height, train.width];
        let advice = || {
            let precision = compute.precision;
            format!(
                "batches of {batch} images in {precision} on the card (smaller ones need less memory, bf16 half)"
            )
        };
        let program =
            Program::new(chain, gpu, images, compute.precision, true).map_err(|e| e.context(advice()))?;
        let Some(mut program) = program else { return Ok(None) };
        for samples in sets.into_iter().flatten() {
            program.prepare(samples.largest_batch()).map_err(|e| e.context(advice()))?;
            program.prepare(samples.last_batch()).map_err(|e| e.context(advice()))?;
        }
        let memory = &program.memory;
        let steps = sets.into_iter().flatten().map(Samples::steps).max().unwrap_or(0);
        let weights: Vec<f32> =
            class_weights.unwrap_or_default().iter().map(|&weight| weight as f32).collect();
        Ok(Some(Self {
            train: Set::new(train, memory, true)?,
            valid: valid.map(|valid| Set::new(valid, memory, false)).transpose()?,
            edge,
            tones: match tones {
                Some(stretch) => Some((stretch, memory.zeros::<ToneArgs>(train.labels.len())?)),
                None => None,
            },
            smoothing: label_smoothing as f32,
            class_weights: memory.holding(&weights)?,
            seed,
            batch_labels: memory.zeros::<u32>(batch)?,
            updates: memory.zeros::<Update>(train.steps())?,
            results: Results { losses: memory.zeros::<f64>(steps)?, correct: memory.zeros::<u32>(steps)? },
            moments: [
                memory.zeros::<f32>(program.parameters.len)?,
                memory.zeros::<f32>(program.parameters.len)?,
            ],
            graphs: BTreeMap::new(),
            program,
        }))
    }

    fn gpu(&self) -> &G {
        &self.program.memory.gpu
    }

    /// Queues a step on the next batch: by its recording from the third of its size on. The first is done call by
    /// call, so that whatever is prepared at its first use is prepared.
    fn step(&mut self, phase: Phase, batch: usize) -> Result<()> {
        match self.graphs.get(&(phase, batch)) {
            Some(Some(graph)) => self.gpu().replay(graph),
            Some(None) => {
                let graph = self.gpu().record(&mut || self.queue(phase, batch))?;
                self.gpu().replay(&graph)?;
                self.graphs.insert((phase, batch), Some(graph));
                Ok(())
            }
            None => {
                self.queue(phase, batch)?;
                self.graphs.insert((phase, batch), None);
                Ok(())
            }
        }
    }

    /// Queues the launches of a step. Everything that changes from step to step is on the card.
    fn queue(&self, phase: Phase, batch: usize) -> Result<()> {
        let program = &self.program;
        self.queue_batch(phase, batch)?;
        program.forward(batch, phase, false)?;
        let trains = phase == Phase::Train;
        let [bias, dbias] = program.last_bias();
        let loss = LossArgs {
            c: program.logits(),
            bias,
            labels: self.batch_labels,
            class_weights: if trains { self.class_weights } else { Address::NONE },
            dlogits: if trains { program.da } else { Address::NONE },
            dbias,
            losses: self.results.losses,
            correct: self.results.correct,
            state: program.state,
            smoothing: self.smoothing,
            batch: batch as u32,
            classes: program.chain.classes() as u32,
            last: u32::from(!trains),
        };
        self.gpu().launch("cross_entropy_f32", [1, 1], [THREADS, 1], &loss)?;
        if trains {
            program.backward(batch)?;
            self.queue_optimizer()?;
        }
        Ok(())
    }

    fn queue_batch(&self, phase: Phase, batch: usize) -> Result<()> {
        let set = match (phase, &self.valid) {
            (Phase::Eval, Some(valid)) => valid,
            _ => &self.train,
        };
        let Samples { height, width, batch_size, .. } = set.samples;
        let (fill_mode, fill) = self.edge.number();
        let args = BatchArgs {
            pixels: set.pixels,
            labels: set.labels,
            order: set.order,
            warps: set.warps,
            images: self.program.images,
            batch_labels: self.batch_labels,
            state: self.program.state,
            fill,
            fill_mode,
            height: height as u32,
            width: width as u32,
            stride: batch_size as u32,
            unused: 0,
        };
        let grid = [batch, (height * width).div_ceil(THREADS)];
        self.gpu().launch("batch_u8", grid, [THREADS, 1], &args)?;
        let (Phase::Train, Some((stretch, tones))) = (phase, self.tones) else { return Ok(()) };
        let args = BatchToneArgs {
            images: args.images,
            tones,
            state: args.state,
            area: args.height * args.width,
            stride: args.stride,
            stretch: stretch as u32,
            unused: 0,
        };
        self.gpu().launch("tone_f32", [batch, 1], [THREADS, 1], &args)
    }

    fn queue_optimizer(&self) -> Result<()> {
        let (program, parameters) = (&self.program, &self.program.parameters);
        let args = OptimizerArgs {
            weights: parameters.values,
            m: self.moments[0],
            v: self.moments[1],
            gradients: program.gradients,
            half_gradients: program.half_gradients,
            half_weights: parameters.half_values,
            updates: self.updates,
            state: program.state,
            tickets: program.tickets,
            parameters: parameters.len as u32,
            halves: parameters.halves as u32,
        };
        // Enough blocks to keep any card's memory busy.
        let blocks = parameters.len.div_ceil(THREADS * 4).clamp(1, 2048);
        self.gpu().launch("optimizer_f32", [blocks, 1], [THREADS, 1], &args)
    }

    /// Begins at a step of an epoch.
    fn begin(&self, epoch: u32, step: usize) -> Result<()> {
        let state = State { seed: self.seed, epoch, step: step as u32 };
        self.program.memory.write(&[state], self.program.state)
    }

    fn results(&self, steps: std::ops::Range<usize>, set: &Set) -> Result<Vec<BatchResult>> {
        let memory = &self.program.memory;
        let losses: Vec<f64> = memory.read(self.results.losses.after::<f64>(steps.start), steps.len())?;
        let correct: Vec<u32> = memory.read(self.results.correct.after::<u32>(steps.start), steps.len())?;
        let result = |((step, loss), correct)| BatchResult { samples: set.batch(step), loss, correct };
        Ok(steps.zip(losses).zip(correct).map(result).collect())
    }
}

impl<G: Gpu> OnDevice for Training<G> {
    fn train(
        &mut self,
        epoch: u32,
        first: usize,
        plan: &EpochPlan,
        updates: &[Update],
    ) -> Result<Vec<BatchResult>> {
        let (samples, steps) = (self.train.samples.labels.len(), self.train.samples.steps());
        let planned = [samples, samples, if self.tones.is_some() { samples } else { 0 }];
        let lens = [plan.order.len(), plan.warps.len(), plan.tones.len()];
        if lens != planned || first + updates.len() != steps {
            bail!("the plan of epoch {} is not for {samples} samples in {steps} steps", epoch + 1)
        }
        if let Some(&row) = plan.order.iter().find(|&&row| row as usize >= samples) {
            bail!("the plan of epoch {} has sample {row} of {samples}", epoch + 1)
        }
        let memory = &self.program.memory;
        memory.write(&plan.order, self.train.order)?;
        memory.write(&plan.warps.iter().map(Warp::args).collect::<Vec<_>>(), self.train.warps)?;
        if let Some((_, tones)) = self.tones {
            memory.write(&plan.tones.iter().map(Tone::args).collect::<Vec<_>>(), tones)?;
        }
        memory.write(updates, self.updates.after::<Update>(first))?;
        self.program.parameters.load(self.gpu())?;
        self.begin(epoch, first)?;
        for step in first..steps {
            self.step(Phase::Train, self.train.batch(step))?;
        }
        let results = self.results(first..steps, &self.train)?;
        self.program.parameters.store(self.gpu())?;
        Ok(results)
    }

    fn validate(&mut self) -> Result<Vec<BatchResult>> {
        let Some(steps) = self.valid.as_ref().map(|valid| valid.samples.steps()) else {
            return Ok(Vec::new());
        };
        self.program.parameters.load(self.gpu())?;
        self.begin(0, 0)?;
        for step in 0..steps {
            let batch = self.valid.as_ref().map_or(0, |valid| valid.batch(step));
            if step == 0 {
                self.program.use_moving_statistics(batch)?;
            }
            self.step(Phase::Eval, batch)?;
        }
        match &self.valid {
            Some(valid) => self.results(0..steps, valid),
            None => Ok(Vec::new()),
        }
    }

    fn moments(&self) -> Result<Vec<Moments>> {
        let [m, v] = self.moments;
        let of = |parameter: &super::parameters::Parameter| -> Result<Moments> {
            let (m, v) = (parameter.read(self.gpu(), m)?, parameter.read(self.gpu(), v)?);
            Ok(Moments { variable: parameter.tensor.id(), m, v })
        };
        self.program.parameters.list.iter().map(of).collect()
    }

    fn set_moments(&mut self, moments: &[Moments]) -> Result<()> {
        for Moments { variable, m, v } in moments {
            let parameters = &self.program.parameters.list;
            let Some(parameter) = parameters.iter().find(|parameter| parameter.tensor.id() == *variable)
            else {
                bail!("moments of a variable that the network does not have")
            };
            for (tensor, to) in [(m, self.moments[0]), (v, self.moments[1])] {
                parameter.load(self.gpu(), &matching(tensor, &parameter.tensor)?, to, Address::NONE)?;
            }
        }
        Ok(())
    }
}

/// The tensor, on the variable's device, if it has the variable's shape.
fn matching(tensor: &Tensor, variable: &Tensor) -> Result<Tensor> {
    if tensor.shape() != variable.shape() {
        bail!("moments of shape {:?} for a variable of {:?}", tensor.shape(), variable.shape())
    }
    tensor.to_device(variable.device())
}
