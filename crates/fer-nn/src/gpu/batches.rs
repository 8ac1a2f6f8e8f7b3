//! Batches made on a card: images and targets chosen from those that live there, changed and blended.

use std::ops::Range;

use candle_core::{Result, bail};

use super::args::{BatchArgs, BatchToneArgs, MixArgs, StandardArgs, ToneArgs, WarpArgs};
use super::card::{Address, Gpu};
use super::memory::Memory;
use super::spread::THREADS;
use crate::engine::{Change, Edge, EpochPlan, Samples, Treatment};

/// Samples on the card.
pub(super) struct Batches {
    samples: Samples,
    treatment: Treatment,
    pixels: Address,
    targets: Address,
    epoch: Option<Epoch>,
}

/// What an epoch does with samples that are trained on.
struct Epoch {
    order: Address,
    warps: Address,
    tones: Address,
    shares: Address,
    partners: Address,
    /// Images and targets before they are blended; made when an epoch first blends.
    unmixed: Option<[Address; 2]>,
    made: Made,
}

/// Which kernels make a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Made {
    /// Whether images are moved or mirrored.
    warps: bool,
    /// Whether pixels are changed.
    tones: bool,
    mixes: bool,
}

/// Where a batch goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub images: Address,
    pub targets: Address,
    pub state: Address,
    /// Images in it.
    pub len: usize,
}

impl Batches {
    pub fn new<G: Gpu>(
        samples: &Samples,
        treatment: Treatment,
        memory: &Memory<G>,
        is_trained_on: bool,
    ) -> Result<Self> {
        let (count, steps) = (samples.len(), samples.steps());
        let epoch = || -> Result<Epoch> {
            Ok(Epoch {
                order: memory.zeros::<u32>(count)?,
                warps: memory.zeros::<WarpArgs>(count)?,
                tones: memory.zeros::<ToneArgs>(count)?,
                shares: memory.zeros::<f32>(steps)?,
                partners: memory.zeros::<u32>(steps * samples.batch_size)?,
                unmixed: None,
                made: Made::default(),
            })
        };
        Ok(Self {
            pixels: memory.holding(&samples.pixels)?,
            targets: memory.holding(&samples.targets)?,
            epoch: is_trained_on.then(epoch).transpose()?,
            samples: Samples { pixels: Vec::new(), ..samples.clone() },
            treatment,
        })
    }

    /// Batches of an epoch.
    pub fn steps(&self) -> usize {
        self.samples.steps()
    }

    /// Images in batch `step`.
    pub fn len(&self, step: usize) -> usize {
        self.samples.batch(step)
    }

    /// The sizes of batches that there are.
    pub fn lens(&self) -> [usize; 2] {
        [0, self.steps().saturating_sub(1)].map(|step| self.len(step))
    }

    pub fn made(&self) -> Made {
        self.epoch.as_ref().map_or(Made::default(), |epoch| epoch.made)
    }

    /// Whether these are steps of an epoch.
    pub fn check(&self, steps: &Range<usize>) -> Result<()> {
        if steps.start >= steps.end || steps.end > self.steps() {
            bail!("steps {steps:?} of an epoch of {}", self.steps())
        }
        Ok(())
    }

    /// Takes what an epoch, counted from 0, does with the samples.
    pub fn begin<G: Gpu>(&mut self, number: u32, plan: &EpochPlan, memory: &Memory<G>) -> Result<()> {
        let (count, steps) = (self.samples.len(), self.steps());
        let fits = |len: usize, full: usize| len == 0 || len == full;
        // What is left of an epoch without its last batch need not be in the plan.
        let (planned, needed) =
            (plan.order.len(), (0..steps).map(|step| self.samples.batch(step)).sum::<usize>());
        if !(needed..=count).contains(&planned)
            || !fits(plan.changes.len(), planned)
            || !fits(plan.mixes.len(), steps)
        {
            bail!("the plan of epoch {} is not for {count} samples in {steps} steps", number + 1)
        }
        if let Some(&row) = plan.order.iter().find(|&&row| row as usize >= count) {
            bail!("the plan of epoch {} has sample {row} of {count}", number + 1)
        }
        for (step, mix) in plan.mixes.iter().enumerate() {
            let len = self.samples.batch(step);
            if mix.partners.len() != len || mix.partners.iter().any(|&partner| partner as usize >= len) {
                bail!("the plan of epoch {} blends step {step} in another way than {len} images", number + 1)
            }
        }
        let Samples { height, width, classes, batch_size, .. } = self.samples;
        let Some(epoch) = &mut self.epoch else { bail!("samples that are only validated on have no epochs") };
        memory.write(&plan.order, epoch.order)?;
        memory.write(&plan.changes.iter().map(warp).collect::<Vec<_>>(), epoch.warps)?;
        epoch.made = Made {
            warps: !plan.changes.is_empty(),
            tones: !plan.changes.is_empty()
                && (self.treatment.clamps || plan.changes.iter().any(changes_pixels)),
            mixes: !plan.mixes.is_empty(),
        };
        if epoch.made.tones {
            memory.write(&plan.changes.iter().map(tone).collect::<Vec<_>>(), epoch.tones)?;
        }
        if epoch.made.mixes {
            if epoch.unmixed.is_none() {
                let images = memory.zeros::<f32>(batch_size.min(count) * height * width)?;
                epoch.unmixed = Some([images, memory.zeros::<f32>(batch_size.min(count) * classes)?]);
            }
            memory.write(&plan.mixes.iter().map(|mix| mix.share).collect::<Vec<_>>(), epoch.shares)?;
            let mut partners = vec![0_u32; steps * batch_size];
            for (to, mix) in partners.chunks_mut(batch_size).zip(&plan.mixes) {
                to[..mix.partners.len()].copy_from_slice(&mix.partners);
            }
            memory.write(&partners, epoch.partners)?;
        }
        Ok(())
    }

    /// Queues the making of a batch.
    pub fn queue<G: Gpu>(&self, batch: Batch, gpu: &G) -> Result<()> {
        let Samples { height, width, classes, batch_size, .. } = self.samples;
        let Batch { images, targets, state, len } = batch;
        let made = self.made();
        let unmixed = self.epoch.as_ref().and_then(|epoch| epoch.unmixed).filter(|_| made.mixes);
        let [first_images, first_targets] = unmixed.unwrap_or([images, targets]);
        let of_epoch = |of: fn(&Epoch) -> Address| self.epoch.as_ref().map_or(Address::NONE, of);
        let Treatment { edge, stretch, clamps, erased_value, .. } = self.treatment;
        let (fill_mode, fill) = fill(edge);
        let [area, stride, classes] = [height * width, batch_size, classes].map(|n| n as u32);
        let grid = [len, (height * width).div_ceil(THREADS)];
        let args = BatchArgs {
            pixels: self.pixels,
            targets: self.targets,
            order: of_epoch(|epoch| epoch.order),
            warps: if made.warps { of_epoch(|epoch| epoch.warps) } else { Address::NONE },
            images: first_images,
            batch_targets: first_targets,
            state,
            fill,
            fill_mode,
            height: height as u32,
            width: width as u32,
            classes,
            stride,
            standard: self.standard(!made.tones && !made.mixes),
        };
        gpu.launch("batch_u8", grid, [THREADS, 1], &args)?;
        if made.tones {
            let args = BatchToneArgs {
                images: first_images,
                tones: of_epoch(|epoch| epoch.tones),
                state,
                area,
                width: width as u32,
                stride,
                stretch: stretch as u32,
                clamps: u32::from(clamps),
                erased: erased_value,
                standard: self.standard(!made.mixes),
            };
            gpu.launch("tone_f32", [len, 1], [THREADS, 1], &args)?;
        }
        if made.mixes {
            let args = MixArgs {
                from: first_images,
                from_targets: first_targets,
                to: images,
                to_targets: targets,
                shares: of_epoch(|epoch| epoch.shares),
                partners: of_epoch(|epoch| epoch.partners),
                state,
                area,
                classes,
                stride,
                unused: 0,
                standard: self.standard(true),
            };
            gpu.launch("mix_f32", grid, [THREADS, 1], &args)?;
        }
        Ok(())
    }

    /// The standardisation, for the kernel that is the last to change the images.
    fn standard(&self, is_last: bool) -> StandardArgs {
        let Treatment { mean, deviation, .. } = self.treatment;
        let applies = u32::from(is_last && (mean, deviation) != (0.0, 1.0));
        StandardArgs { mean, deviation, applies, unused: 0 }
    }
}

/// Whether a change is more than moving and mirroring.
fn changes_pixels(change: &Change) -> bool {
    let Change { map: _, flip_horizontal: _, flip_vertical: _, shift, brightness, contrast, offset, erased } =
        change;
    (*shift, *contrast, *offset) != (0.0, 1.0, 0.0) || brightness.is_some() || erased.is_some()
}

/// How an image is moved, for `batch.cu`.
pub(super) fn warp(change: &Change) -> WarpArgs {
    let (matrix, offset) = change.map.unwrap_or_default();
    let flips = u32::from(change.flip_horizontal) | u32::from(change.flip_vertical) << 1;
    WarpArgs { matrix, offset, moves: u32::from(change.map.is_some()), flips }
}

/// How an image's pixels are changed, for `tone.cu`.
pub(super) fn tone(change: &Change) -> ToneArgs {
    let erased = change.erased.unwrap_or_default();
    ToneArgs {
        shift: change.shift,
        brightness: change.brightness.unwrap_or(-1.0),
        contrast: change.contrast,
        offset: change.offset,
        top: erased.top,
        left: erased.left,
        bottom: erased.bottom,
        right: erased.right,
    }
}

/// The mode and the value of `batch.cu`.
pub(super) fn fill(edge: Edge) -> (u32, f32) {
    match edge {
        Edge::Nearest => (0, 0.0),
        Edge::Constant(value) => (1, value),
        Edge::Reflect => (2, 0.0),
        Edge::Wrap => (3, 0.0),
    }
}
