//! The moving average of a network's variables.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use std::collections::BTreeMap;

use crate::optimizer::Blend;
use crate::weights::{self, Weights};
use crate::{AverageConfig, Error, Result};

/// The averages by name, on the host. Variables that are not of floats have none.
#[derive(Debug)]
pub(crate) struct Average {
    pub config: AverageConfig,
    values: BTreeMap<String, Var>,
}

impl Average {
    /// A copy of the variables as they are.
    pub fn of(weights: &VarMap, config: AverageConfig) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (name, var) in weights::sorted(weights) {
            if matches!(var.dtype(), DType::F32 | DType::F64) {
                values.insert(name, Var::from_tensor(&var.to_device(&Device::Cpu)?.copy()?)?);
            }
        }
        Ok(Self { config, values })
    }

    /// Takes in the variables after a step, of which `part` is new.
    pub fn add(&self, weights: &VarMap, part: f32) -> Result<()> {
        for (name, var) in weights::sorted(weights) {
            if let Some(average) = self.values.get(&name) {
                let value = var.as_detached_tensor().to_device(&Device::Cpu)?.contiguous()?;
                average.inplace_op2(&value, &Blend(part))?;
            }
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Var> {
        self.values.get(name)
    }

    /// The averages, sharing their memory.
    pub fn views(&self) -> Weights {
        self.values.iter().map(|(name, average)| (name.clone(), average.as_detached_tensor())).collect()
    }

    /// Goes back to averages of before.
    pub fn set(&self, values: &Weights) -> Result<()> {
        for (name, average) in &self.values {
            if let Some(value) = values.get(name) {
                self.set_one(name, average, value)?;
            }
        }
        Ok(())
    }

    fn set_one(&self, name: &str, average: &Var, value: &Tensor) -> Result<()> {
        if value.shape() != average.shape() || value.dtype() != average.dtype() {
            return Err(Error::Shape {
                what: "average",
                expected: format!("{name} {:?} {:?}", average.dtype(), average.shape()),
                found: format!("{:?} {:?}", value.dtype(), value.shape()),
            });
        }
        Ok(average.set(&value.to_device(&Device::Cpu)?)?)
    }
}
