//! A network's variables on a card, one after the other, and their way from and to candle's tensors.

use candle_core::{Result, Tensor, TensorId, Var};

use super::args::LayoutArgs;
use super::card::{Address, Gpu, Half};
use super::memory::Memory;
use super::sizes::Sizes;
use super::spread::THREADS;
use crate::plan::{Op, Plan};

/// Values between the beginnings of two parameters: whatever reads them wants to begin at whole lines of memory.
const LINE: usize = 64;

/// A tensor on the card.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub tensor: Tensor,
    /// Values before it.
    at: usize,
    /// `(outer, channels, positions)`: channels last on the card, before the positions in the tensor.
    layout: [usize; 3],
    /// Whether convolutions read it, and write its gradient, as bfloat16.
    is_half: bool,
}

/// Where a stage's parameters begin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub weight: usize,
    pub bias: Option<usize>,
    /// Of gamma and beta.
    pub norm: Option<[usize; 2]>,
    /// Of the moving mean and variance, among the states.
    pub moving: [usize; 2],
}

/// One set of values for all parameters and moving statistics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    pub weights: Address,
    /// Copies of the first of them, which convolutions read as bfloat16.
    pub halves: Address,
    /// The moving statistics.
    pub states: Address,
}

/// All parameters and moving statistics.
#[derive(Debug)]
pub(super) struct Parameters {
    pub list: Vec<Parameter>,
    pub states: Vec<Parameter>,
    pub places: Vec<Places>,
    /// Values of all parameters. Those that are bfloat16 too come first, then the other weights, then biases and norms.
    pub len: usize,
    pub halves: usize,
    /// Values of the weights, which have two and more dimensions.
    pub weights: usize,
    pub state_len: usize,
    pub trained: Values,
    /// The moving averages of both, where they are kept.
    pub averages: Option<Values>,
}

/// Parameters one after the other.
#[derive(Default)]
struct Row {
    list: Vec<Parameter>,
    len: usize,
}

impl Row {
    fn add(&mut self, tensor: &Tensor, layout: [usize; 3], is_half: bool) -> usize {
        let at = self.len;
        self.list.push(Parameter { tensor: tensor.clone(), at, layout, is_half });
        self.len = (at + tensor.elem_count()).next_multiple_of(LINE);
        at
    }

    fn add_vector(&mut self, tensor: &Tensor) -> usize {
        self.add(tensor, [1, 1, tensor.elem_count()], false)
    }
}

impl Parameters {
    pub fn new<G: Gpu>(plan: &Plan, sizes: &[Sizes], memory: &Memory<G>, averages: bool) -> Result<Self> {
        let mut places = vec![Places::default(); plan.stages.len()];
        let (mut row, mut states) = (Row::default(), Row::default());
        let mut halves = 0;
        for is_half in [true, false] {
            for ((stage, sizes), at) in plan.stages.iter().zip(sizes).zip(&mut places) {
                let weight = match &stage.op {
                    Op::Conv2d(conv) => &conv.weight,
                    Op::Dense(dense) => &dense.weight,
                    _ => continue,
                };
                if sizes.has_half_weight() == is_half {
                    at.weight = row.add(weight, sizes.weight_layout(), is_half);
                }
            }
            if is_half {
                halves = row.len;
            }
        }
        let weights = row.len;
        for (stage, at) in plan.stages.iter().zip(&mut places) {
            at.bias = match &stage.op {
                Op::Conv2d(conv) => conv.bias.as_ref(),
                Op::Dense(dense) => dense.bias.as_ref(),
                _ => None,
            }
            .map(|bias| row.add_vector(bias));
            if let Some(norm) = &stage.norm {
                at.norm = Some([&norm.weight, &norm.bias].map(|tensor| row.add_vector(tensor)));
                at.moving = [&norm.running_mean, &norm.running_var]
                    .map(|moving| states.add_vector(moving.as_tensor()));
            }
        }
        let values = || -> Result<Values> {
            Ok(Values {
                weights: memory.zeros::<f32>(row.len)?,
                halves: memory.zeros::<Half>(halves)?,
                states: memory.zeros::<f32>(states.len)?,
            })
        };
        Ok(Self {
            places,
            len: row.len,
            halves,
            weights,
            state_len: states.len,
            trained: values()?,
            averages: averages.then(values).transpose()?,
            list: row.list,
            states: states.list,
        })
    }

    /// Takes the values of the tensors, to the trained values or to the averages.
    pub fn load<G: Gpu>(&self, gpu: &G, to: Values) -> Result<()> {
        for parameter in &self.list {
            parameter.load(gpu, &parameter.tensor, to.weights, to.halves)?;
        }
        self.states.iter().try_for_each(|state| state.load(gpu, &state.tensor, to.states, Address::NONE))
    }

    /// Brings the trained values to the variables.
    pub fn store<G: Gpu>(&self, gpu: &G) -> Result<()> {
        let places = [(&self.list, self.trained.weights), (&self.states, self.trained.states)];
        for (parameters, from) in places {
            for parameter in parameters {
                Var::from_tensor(&parameter.tensor)?.set(&parameter.read(gpu, from)?)?;
            }
        }
        Ok(())
    }

    /// Makes the copies that convolutions read of the averages.
    pub fn round_averages<G: Gpu>(&self, gpu: &G) -> Result<()> {
        let Some(Values { weights, halves, .. }) = self.averages.filter(|_| self.halves > 0) else {
            return Ok(());
        };
        let (outer, channels, area) = (1, 1, self.halves as u32);
        let args = LayoutArgs { planar: weights, half: halves, outer, channels, area, ..Default::default() };
        gpu.launch("to_channels_last_f32", [self.halves.div_ceil(THREADS), 1], [THREADS, 1], &args)
    }

    /// The parameter that a variable is.
    pub fn of(&self, variable: TensorId) -> Option<&Parameter> {
        self.list.iter().find(|parameter| parameter.tensor.id() == variable)
    }

    /// The moving statistic that a variable is.
    pub fn state_of(&self, variable: TensorId) -> Option<&Parameter> {
        self.states.iter().find(|state| state.tensor.id() == variable)
    }
}

impl Parameter {
    fn args(&self, planar: Address, values: Address) -> LayoutArgs {
        let [outer, channels, area] = self.layout.map(|n| n as u32);
        LayoutArgs { planar, last: values.after::<f32>(self.at), outer, channels, area, ..Default::default() }
    }

    /// Takes the values of a tensor of this parameter's shape to its place after `values`, and rounded to its place after
    /// `halves`, unless that is [`Address::NONE`].
    pub fn load<G: Gpu>(&self, gpu: &G, tensor: &Tensor, values: Address, halves: Address) -> Result<()> {
        gpu.read(tensor, &mut |planar| {
            let rounds = self.is_half && halves != Address::NONE;
            let half = if rounds { halves.after::<Half>(self.at) } else { Address::NONE };
            let args = LayoutArgs { half, ..self.args(planar, values) };
            let blocks = self.tensor.elem_count().div_ceil(THREADS);
            gpu.launch("to_channels_last_f32", [blocks, 1], [THREADS, 1], &args)
        })
    }

    /// A tensor of this parameter's shape, from its place after `values`.
    pub fn read<G: Gpu>(&self, gpu: &G, values: Address) -> Result<Tensor> {
        gpu.tensor(self.tensor.dims(), &mut |planar| {
            let blocks = self.tensor.elem_count().div_ceil(THREADS);
            gpu.launch("to_planar_f32", [blocks, 1], [THREADS, 1], &self.args(planar, values))
        })
    }
}
