//! What an optimiser keeps of a parameter: its moving means, or its momentum. They are on the host, whatever the device.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, Var, WithDType, bail};
use fer_nn::engine::Rule;

use super::update::{self, Step, range};

/// m and v of one parameter, in its type; v is empty where the rule has none.
#[derive(Debug)]
pub(super) enum Memory {
    F32(Vec<f32>, Vec<f32>),
    F64(Vec<f64>, Vec<f64>),
}

impl Memory {
    pub fn zeros(var: &Var, rule: Rule) -> Result<Self> {
        let zeros = Tensor::zeros(var.shape(), var.dtype(), &Device::Cpu)?;
        Self::from_tensors(&zeros, (rule == Rule::Adaptive).then_some(&zeros))
    }

    pub fn from_tensors(m: &Tensor, v: Option<&Tensor>) -> Result<Self> {
        let flat = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.flatten_all();
        Ok(match m.dtype() {
            DType::F32 => {
                Self::F32(flat(m)?.to_vec1()?, v.map(|v| flat(v)?.to_vec1()).transpose()?.unwrap_or_default())
            }
            DType::F64 => {
                Self::F64(flat(m)?.to_vec1()?, v.map(|v| flat(v)?.to_vec1()).transpose()?.unwrap_or_default())
            }
            dtype => bail!("the optimiser updates f32 and f64 variables, not {dtype:?}"),
        })
    }

    /// m and v in the shape of `var`.
    pub fn tensors(&self, var: &Var) -> Result<(Tensor, Option<Tensor>)> {
        fn pair<T: WithDType>(m: &[T], v: &[T], var: &Var) -> Result<(Tensor, Option<Tensor>)> {
            let tensor = |values: &[T]| Tensor::from_slice(values, var.shape(), &Device::Cpu);
            // A variable without elements has an empty v too, which is never looked at.
            let v = if v.is_empty() { None } else { Some(tensor(v)?) };
            Ok((tensor(m)?, v))
        }
        match self {
            Self::F32(m, v) => pair(m, v, var),
            Self::F64(m, v) => pair(m, v, var),
        }
    }

    /// One step of `var` by its `gradient`. A variable of another device comes to the host for it.
    pub fn step(&mut self, var: &Var, gradient: &Tensor, step: &Step) -> Result<()> {
        let in_place = InPlace { memory: Mutex::new(self), step };
        if var.device().is_cpu() {
            return var.inplace_op2(&gradient.contiguous()?, &in_place);
        }
        let host = Var::from_tensor(&var.to_device(&Device::Cpu)?)?;
        host.inplace_op2(&gradient.to_device(&Device::Cpu)?.contiguous()?, &in_place)?;
        var.set(&host.to_device(var.device())?)
    }
}

/// A step of one parameter as an operation on its memory.
struct InPlace<'a> {
    // candle gives operations no mutable self.
    memory: Mutex<&'a mut Memory>,
    step: &'a Step,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let (w, g) = (range(weights_layout)?, range(gradient_layout)?);
        if w.len() != g.len() {
            bail!("a variable of {weights_layout:?} has a gradient of {gradient_layout:?}");
        }
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut **memory, weights, gradient) {
            (Memory::F32(m, v), CpuStorage::F32(weights), CpuStorage::F32(gradient)) => {
                update::step(&mut weights[w], &gradient[g], m, v, self.step)
            }
            (Memory::F64(m, v), CpuStorage::F64(weights), CpuStorage::F64(gradient)) => {
                update::step(&mut weights[w], &gradient[g], m, v, self.step)
            }
            _ => bail!("a variable and its gradient are of different types"),
        }
        Ok(())
    }
}
