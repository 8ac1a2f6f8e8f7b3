//! The optimiser of a training on a card: what it keeps of every variable, and its launches.

use candle_core::{Result, Tensor, bail};

use super::args::OptimizerArgs;
use super::card::{Address, Gpu};
use super::parameters::{Parameter, Parameters, Values};
use super::program::Program;
use super::spread::{BLOCKS, THREADS};
use crate::engine::{Rule, Slots, Update};

/// An optimiser with its memory.
pub(super) struct Optimizer {
    rule: Rule,
    decays_all: bool,
    m: Address,
    v: Address,
    /// The norm of all gradients, and what its sums need.
    norm: Address,
    partial: Address,
    ticket: Address,
    /// One for each step of an epoch.
    updates: Address,
}

impl Optimizer {
    pub fn new<G: Gpu>(rule: Rule, decays_all: bool, steps: usize, program: &Program<G>) -> Result<Self> {
        let (memory, len) = (&program.memory, program.parameters.len);
        Ok(Self {
            rule,
            decays_all,
            m: memory.zeros::<f32>(len)?,
            v: if rule == Rule::Adaptive { memory.zeros::<f32>(len)? } else { Address::NONE },
            norm: memory.zeros::<f64>(1)?,
            partial: memory.zeros::<f64>(2 * BLOCKS)?,
            ticket: memory.zeros::<u32>(1)?,
            updates: memory.zeros::<Update>(steps)?,
        })
    }

    /// Takes the factors of steps from `first` on.
    pub fn take<G: Gpu>(&self, first: usize, updates: &[Update], program: &Program<G>) -> Result<()> {
        program.memory.write(updates, self.updates.after::<Update>(first))
    }

    /// Queues a step, which is then over; `clips` says whether gradients may be clipped in it.
    pub fn queue<G: Gpu>(&self, clips: bool, program: &Program<G>) -> Result<()> {
        let parameters = &program.parameters;
        let Parameters { len, halves, trained, .. } = *parameters;
        let averages = parameters.averages.unwrap_or_default();
        let norm_blocks = len.div_ceil(THREADS * 8).clamp(1, BLOCKS);
        let args = OptimizerArgs {
            weights: trained.weights,
            m: self.m,
            v: self.v,
            averages: averages.weights,
            states: trained.states,
            state_averages: averages.states,
            gradients: program.gradients,
            half_gradients: program.half_gradients,
            half_weights: trained.halves,
            updates: self.updates,
            norm: if clips { self.norm } else { Address::NONE },
            state: program.state,
            partial: self.partial,
            ticket: self.ticket,
            parameters: len as u32,
            halves: halves as u32,
            decayed: if self.decays_all { len } else { parameters.weights } as u32,
            state_count: parameters.state_len as u32,
            rule: match self.rule {
                Rule::Adaptive => 0,
                Rule::Momentum => 1,
            },
            blocks: norm_blocks as u32,
        };
        let gpu = &*program.memory.gpu;
        if clips {
            gpu.launch("gradient_norm_f32", [norm_blocks, 1], [1, THREADS], &args)?;
            gpu.launch("total_norm_f32", [1, 1], [1, THREADS], &args)?;
        }
        // Enough blocks to keep any card's memory busy.
        let blocks = len.div_ceil(THREADS * 4).clamp(1, 2048);
        gpu.launch("optimizer_f32", [blocks, 1], [THREADS, 1], &args)
    }

    /// What is kept of all variables.
    pub fn slots<G: Gpu>(&self, program: &Program<G>) -> Result<Vec<Slots>> {
        let gpu = &*program.memory.gpu;
        let parameters = &program.parameters;
        let read = |parameter: &Parameter, from: Address| {
            (from != Address::NONE).then(|| parameter.read(gpu, from)).transpose()
        };
        let averages = parameters.averages.unwrap_or_default();
        let of_parameter = |parameter: &Parameter| -> Result<Slots> {
            Ok(Slots {
                variable: parameter.tensor.id(),
                m: read(parameter, self.m)?,
                v: read(parameter, self.v)?,
                average: read(parameter, averages.weights)?,
            })
        };
        let of_state = |state: &Parameter| -> Result<Slots> {
            let average = read(state, averages.states)?;
            Ok(Slots { variable: state.tensor.id(), m: None, v: None, average })
        };
        let mut slots = parameters.list.iter().map(of_parameter).collect::<Result<Vec<_>>>()?;
        if parameters.averages.is_some() {
            slots.extend(parameters.states.iter().map(of_state).collect::<Result<Vec<_>>>()?);
        }
        Ok(slots)
    }

    /// Takes what was kept of some variables.
    pub fn set_slots<G: Gpu>(&self, slots: &[Slots], program: &Program<G>) -> Result<()> {
        let (gpu, parameters) = (&*program.memory.gpu, &program.parameters);
        let Values { weights, states, .. } = parameters.averages.unwrap_or_default();
        for slot in slots {
            let (parameter, places) = match parameters.of(slot.variable) {
                Some(parameter) => (parameter, [self.m, self.v, weights]),
                None => match parameters.state_of(slot.variable) {
                    Some(state) => (state, [Address::NONE, Address::NONE, states]),
                    None => bail!("an optimiser's values of a variable that the network does not have"),
                },
            };
            for (value, to) in [&slot.m, &slot.v, &slot.average].into_iter().zip(places) {
                let Some(value) = value else { continue };
                if to == Address::NONE {
                    bail!("an optimiser's values that this training does not keep of a variable")
                }
                parameter.load(gpu, &matching(value, &parameter.tensor)?, to, Address::NONE)?;
            }
        }
        Ok(())
    }
}

/// The tensor, on the variable's device, if it has the variable's shape.
fn matching(tensor: &Tensor, variable: &Tensor) -> Result<Tensor> {
    if tensor.shape() != variable.shape() {
        bail!("an optimiser's values of shape {:?} for a variable of {:?}", tensor.shape(), variable.shape())
    }
    tensor.to_device(variable.device())
}
