//! Where every stage's values and gradients lie, and which of them share memory.

use candle_core::Result;

use super::card::{Address, Gpu};
use super::memory::Memory;
use super::reuse::{Lot, Reuse};
use super::sizes::{Sizes, Work, is_result};
use crate::plan::{Plan, Source};

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

/// Results and outputs that are all kept, for the backward pass.
pub(super) fn kept_values<G: Gpu>(
    plan: &Plan,
    sizes: &[Sizes],
    memory: &Memory<G>,
) -> Result<Vec<StageMemory>> {
    let mut stages: Vec<StageMemory> = Vec::with_capacity(sizes.len());
    for (stage, sizes) in plan.stages.iter().zip(sizes) {
        let z = memory.bytes(sizes.out_bytes())?;
        let c = match (sizes.work, stage.input.of()) {
            (Work::Input, Some(input)) => stages[input].z,
            _ if is_result(stage, sizes) => z,
            _ => memory.bytes(sizes.result_bytes())?,
        };
        stages.push(StageMemory { c, z, ..Default::default() });
    }
    Ok(stages)
}

/// One result at a time, and outputs that share memory when nobody reads them any more.
pub(super) fn passing_values<G: Gpu>(
    plan: &Plan,
    sizes: &[Sizes],
    memory: &Memory<G>,
) -> Result<Vec<StageMemory>> {
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
        let ends = |source: Option<Source>| source.and_then(Source::of).filter(|&of| last_reader(of) == i);
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
        let c = match (sizes.work, stage.input.of()) {
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
pub(super) fn gradients<G: Gpu>(
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
        let skip = stage.skip.and_then(Source::of).map(|skip| contribute(&mut reuse, skip));
        // Of what is only added, and where nothing follows the result, this gradient is the result's.
        let passes = i == last || matches!(of_stage.work, Work::Input) || is_result(stage, of_stage);
        let da = (!passes).then(|| reuse.take(of_stage.result_bytes()));
        if !passes {
            reuse.give(dz);
        }
        let input = stage.input.of().map(|input| contribute(&mut reuse, input));
        let scratch = match (input, of_stage.work, stage.input.of()) {
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
        let gradient = |(lot, adds): (Lot, bool)| Gradient { at: lot.at(&places), adds };
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
