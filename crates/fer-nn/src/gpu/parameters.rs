//! A network's variables on a card, one after the other, and their way from and to candle's tensors.

use candle_core::{Result, Tensor, Var};

use super::args::LayoutArgs;
use super::chain::{Chain, Geometry};
use super::memory::Memory;
use super::spread::THREADS;
use super::{Address, Gpu, Half, Kind};

/// Values between the beginnings of two parameters: whatever reads them wants to begin at whole lines of memory.
const LINE: usize = 64;

/// A tensor on the card.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub tensor: Tensor,
    /// Values before it.
    at: usize,
    /// `(outer, channels, positions)`: channels last on the card, before the positions in the tensor.
    layout: (usize, usize, usize),
    /// Whether convolutions read it, and write its gradient, as bfloat16.
    half: bool,
}

/// Where a stage's parameters begin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub weight: usize,
    pub bias: usize,
    pub gamma: Option<usize>,
    pub beta: usize,
    /// Of the moving mean and variance, among the states.
    pub moving: [usize; 2],
}

/// All parameters and moving statistics.
#[derive(Debug)]
pub(super) struct Parameters {
    pub list: Vec<Parameter>,
    states: Vec<Parameter>,
    pub places: Vec<Places>,
    /// Values of all parameters; those that are bfloat16 too come first.
    pub len: usize,
    pub halves: usize,
    pub values: Address,
    pub half_values: Address,
    pub state_values: Address,
}

impl Parameters {
    pub fn new<G: Gpu>(chain: &Chain, geometry: &[Geometry], memory: &Memory<G>) -> Result<Self> {
        let mut places = vec![Places::default(); chain.stages.len()];
        let mut list: Vec<Parameter> = Vec::new();
        let add = |list: &mut Vec<Parameter>, tensor: &Tensor, layout, half| {
            let at =
                list.last().map_or(0, |last| (last.at + last.tensor.elem_count()).next_multiple_of(LINE));
            list.push(Parameter { tensor: tensor.clone(), at, layout, half });
            at
        };
        let end = |list: &[Parameter]| {
            list.last().map_or(0, |last| (last.at + last.tensor.elem_count()).next_multiple_of(LINE))
        };
        let is_half = |g: &Geometry| g.kind == Kind::Bf16 && !g.direct;
        for half in [true, false] {
            for ((stage, g), at) in chain.stages.iter().zip(geometry).zip(&mut places) {
                if is_half(g) == half {
                    at.weight = add(&mut list, &stage.weight, g.weight_layout(), half);
                }
            }
            if half {
                continue;
            }
            for (stage, at) in chain.stages.iter().zip(&mut places) {
                let vector = |tensor: &Tensor| (1, 1, tensor.elem_count());
                at.bias = add(&mut list, &stage.bias, vector(&stage.bias), false);
                if let Some(norm) = &stage.norm {
                    at.gamma = Some(add(&mut list, &norm.weight, vector(&norm.weight), false));
                    at.beta = add(&mut list, &norm.bias, vector(&norm.bias), false);
                }
            }
        }
        let halves = list.iter().take_while(|parameter| parameter.half).last();
        let halves = halves.map_or(0, |last| (last.at + last.tensor.elem_count()).next_multiple_of(LINE));
        let mut states = Vec::new();
        for (stage, at) in chain.stages.iter().zip(&mut places) {
            if let Some(norm) = &stage.norm {
                at.moving = [&norm.running_mean, &norm.running_var].map(|moving| {
                    let tensor = moving.as_tensor();
                    add(&mut states, tensor, (1, 1, tensor.elem_count()), false)
                });
            }
        }
        let len = end(&list);
        Ok(Self {
            places,
            len,
            halves,
            values: memory.zeros::<f32>(len)?,
            half_values: memory.zeros::<Half>(halves)?,
            state_values: memory.zeros::<f32>(end(&states))?,
            list,
            states,
        })
    }

    /// Takes the values of the tensors.
    pub fn load<G: Gpu>(&self, gpu: &G) -> Result<()> {
        for parameter in &self.list {
            parameter.load(gpu, &parameter.tensor, self.values, self.half_values)?;
        }
        self.states
            .iter()
            .try_for_each(|state| state.load(gpu, &state.tensor, self.state_values, Address::NONE))
    }

    /// Brings the values back to the variables.
    pub fn store<G: Gpu>(&self, gpu: &G) -> Result<()> {
        let places = [(&self.list, self.values), (&self.states, self.state_values)];
        for (parameters, from) in places {
            for parameter in parameters {
                Var::from_tensor(&parameter.tensor)?.set(&parameter.read(gpu, from)?)?;
            }
        }
        Ok(())
    }
}

impl Parameter {
    fn args(&self, planar: Address, values: Address) -> LayoutArgs {
        let (outer, channels, area) = self.layout;
        let [outer, channels, area] = [outer, channels, area].map(|n| n as u32);
        LayoutArgs { planar, last: values.after::<f32>(self.at), outer, channels, area, ..Default::default() }
    }

    /// Takes the values of a tensor of this parameter's shape, to its place after `values` (and `halves`).
    pub fn load<G: Gpu>(&self, gpu: &G, tensor: &Tensor, values: Address, halves: Address) -> Result<()> {
        gpu.read(tensor, &mut |planar| {
            let half = if self.half && halves != Address::NONE {
                halves.after::<Half>(self.at)
            } else {
                Address::NONE
            };
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
