//! The stages whose rows flow, and their memory.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use super::band;
use super::chain::{self, Chain};
use super::images::{Images, to_planes};
use super::layer::{From, Size};
use super::line::{Line, sized, values};
use super::row::Kept;
use crate::plan::{Op, Source, Stage};

/// Convolutions larger than 1×1 in a chain at most: each makes the bands of those before it overlap by a row or more.
const TALL: usize = 2;

/// Multiplications that are worth a thread.
const WORK: usize = 500_000;

/// Stages that run as one. Clones share their memory.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    chains: Arc<Vec<Chain>>,
    /// The plan's stage that is the first here.
    first: usize,
    /// What they read from outside, in the order in which it is given.
    pub inputs: Vec<Source>,
    /// The stages of the plan whose outputs are given back, in that order.
    pub outputs: Vec<usize>,
    /// The maps of the chains.
    idle: Arc<Mutex<Vec<Vec<Vec<Line>>>>>,
}

impl Rows {
    /// Whether a stage can be one of those that run as one.
    pub fn takes(stage: &Stage) -> bool {
        chain::takes(stage)
    }

    /// Whether stages run faster as one than otherwise: there are depthwise convolutions among them.
    pub fn suits(stages: &[Stage]) -> bool {
        stages.iter().any(chain::is_light)
    }

    /// The plan's stages `first..first + stages.len()`; `is_read` says whose outputs others read.
    pub fn new(stages: &[Stage], first: usize, is_read: impl Fn(usize) -> bool) -> Self {
        let outputs: Vec<usize> = (first..first + stages.len()).filter(|&stage| is_read(stage)).collect();
        let mut building = Building { first, inputs: Vec::new(), chains: Vec::new() };
        let mut readers = vec![0; stages.len()];
        for source in stages.iter().flat_map(|stage| [Some(stage.input), stage.skip]).flatten() {
            if let Source::Of(stage) = source
                && stage >= first
            {
                readers[stage - first] += 1;
            }
        }
        outputs.iter().for_each(|&stage| readers[stage - first] += 2);
        for (i, stage) in stages.iter().enumerate() {
            building.add(stage, i, &readers);
        }
        let Building { inputs, mut chains, .. } = building;
        // A chain adds what chains before it leave.
        chains.sort_by_key(|chain| chain.leaves);
        Self { chains: Arc::new(chains), first, inputs, outputs, idle: Arc::default() }
    }

    /// The outputs `(batch, channels, height, width)` for inputs, by the moving statistics.
    pub fn infer(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let guards: Vec<_> = inputs.iter().map(Tensor::storage_and_layout).collect();
        let mut images = Vec::with_capacity(guards.len());
        for (storage, layout) in &guards {
            let Storage::Cpu(storage) = &**storage else { bail!("conv2d: expected a tensor on the CPU") };
            images.push(Images::new(storage, layout)?);
        }
        let batch = inputs.first().map_or(0, |input| input.dims()[0]);
        let sizes = self.sizes(inputs, batch)?;
        let mut maps = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        maps.resize_with(self.chains.len(), Vec::new);
        let result = self.run(&images, batch, &sizes, &mut maps).and_then(|()| {
            let output = |&stage: &usize| {
                let at = self.chain_of(From::Stage(stage - self.first));
                let dims = sizes[at][sizes[at].len() - 1].dims(batch);
                Tensor::from_vec(to_planes(values(&maps[at]), dims), &dims, &Device::Cpu)
            };
            self.outputs.iter().map(output).collect()
        });
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(maps);
        result
    }

    /// The chain that leaves this.
    fn chain_of(&self, from: From) -> usize {
        // Every stage is left by the chain that it ends, every input that is added by one of its own.
        self.chains.iter().position(|chain| chain.leaves == from).unwrap_or(usize::MAX)
    }

    /// The sizes on the way through every chain.
    fn sizes(&self, inputs: &[Tensor], batch: usize) -> Result<Vec<Vec<Size>>> {
        let mut sizes: Vec<Vec<Size>> = Vec::with_capacity(self.chains.len());
        for chain in &*self.chains {
            let of = |from: From| {
                let sizes: &Vec<Size> = &sizes[self.chain_of(from)];
                sizes[sizes.len() - 1]
            };
            let input = match chain.input {
                From::Stage(_) => of(chain.input),
                From::Input(i) => match *inputs[i].dims() {
                    [images, channels, height, width] if images == batch && inputs[i].elem_count() > 0 => {
                        Size { channels, height, width }
                    }
                    ref dims => bail!("conv2d: expected {batch} images, got {dims:?}"),
                },
            };
            let of_chain = chain.sizes(input, batch, of)?;
            sizes.push(of_chain);
        }
        Ok(sizes)
    }

    fn run(
        &self,
        images: &[Images],
        batch: usize,
        sizes: &[Vec<Size>],
        maps: &mut [Vec<Line>],
    ) -> Result<()> {
        for (i, (chain, of_chain)) in self.chains.iter().zip(sizes).enumerate() {
            let (before, rest) = maps.split_at_mut(i);
            let map = |from: From| values(&before[self.chain_of(from)]);
            let (given, source) = match chain.input {
                From::Input(k) => (Some(images[k]), None),
                From::Stage(_) => {
                    let (size, rows) = (of_chain[0], map(chain.input));
                    let of_image = size.height * size.row().len();
                    (None, Some((rows, of_image, size)))
                }
            };
            let steps = chain.steps(of_chain, given, map)?;
            let output = of_chain[of_chain.len() - 1];
            let (row_len, height) = (output.row().len(), output.height);
            let out = sized(&mut rest[0], batch * height * row_len);
            let work: usize =
                chain.layers.iter().zip(&of_chain[1..]).map(|(layer, &size)| layer.work(size)).sum();
            let threads = rayon::current_num_threads().min(work / WORK).max(1);
            let rows = height.div_ceil(threads.div_ceil(batch));
            let band = |image: usize, first: usize, out: &mut [f32]| {
                let source = source.map(|(rows, of_image, size)| Kept {
                    rows: &rows[image * of_image..][..of_image],
                    capacity: size.height,
                    row: size.row(),
                });
                band::run(&steps, image, source, first, out);
            };
            in_bands(out, batch, height * row_len, rows, row_len, band);
        }
        Ok(())
    }
}

/// Calls `band(image, first row, rows)` for every band of so many rows of every image.
fn in_bands(
    out: &mut [f32],
    batch: usize,
    of_image: usize,
    rows: usize,
    row_len: usize,
    band: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    if batch == 1 && rows * row_len >= of_image {
        return band(0, 0, out);
    }
    out.par_chunks_exact_mut(of_image).enumerate().for_each(|(image, out)| {
        let bands = out.par_chunks_mut(rows * row_len).enumerate();
        bands.for_each(|(i, out)| band(image, i * rows, out));
    });
}

/// Chains in the making.
struct Building {
    first: usize,
    inputs: Vec<Source>,
    chains: Vec<Chain>,
}

impl Building {
    fn from(&mut self, source: Source) -> From {
        match source {
            Source::Of(stage) if stage >= self.first => From::Stage(stage - self.first),
            outside => {
                let at = self.inputs.iter().position(|&input| input == outside).unwrap_or(self.inputs.len());
                if at == self.inputs.len() {
                    self.inputs.push(outside);
                }
                From::Input(at)
            }
        }
    }

    fn add(&mut self, stage: &Stage, index: usize, readers: &[usize]) {
        let mut input = self.from(stage.input);
        let mut skip = stage.skip.map(|skip| self.from(skip));
        // Of two that are added, the chain goes on from one that nobody else reads.
        let goes_on = |from: From| matches!(from, From::Stage(stage) if readers[stage] == 1);
        if matches!(stage.op, Op::Sum)
            && let Some(other) = skip
            && !goes_on(input)
            && goes_on(other)
        {
            (input, skip) = (other, Some(input));
        }
        if let Some(From::Input(i)) = skip
            && !self.chains.iter().any(|chain| chain.leaves == From::Input(i))
        {
            self.chains.push(Chain::loading(i));
        }
        let is_of = |chain: &&mut Chain| chain.leaves == input;
        let is_full = |chain: &Chain| chain.tall() >= TALL && matches!(stage.op, Op::Conv2d(_));
        let before = self.chains.iter_mut().find(is_of).filter(|chain| goes_on(input) && !is_full(chain));
        if let Some(chain) = before {
            return chain.push(stage, index, skip);
        }
        let mut chain = Chain::new(input, stage, index);
        chain.push(stage, index, skip);
        self.chains.push(chain);
    }
}
