//! What a Keras file gives.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::{Architecture, Error, Input, ModelConfig, Preprocessing, Result};

/// A network read from a Keras file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the network is made of.
    pub architecture: Architecture,
    /// The images that it takes.
    pub input: Input,
    /// The classes that it tells apart.
    pub classes: usize,
    /// What is done to pixels first, where the model says it by a `Rescaling` layer.
    pub preprocessing: Option<Preprocessing>,
    /// The tensors of the architecture, on the CPU.
    pub tensors: HashMap<String, Tensor>,
    /// What was left out or assumed, a sentence each, for a person to read.
    pub notes: Vec<String>,
}

impl Imported {
    /// The configuration of the model, with the names of its classes. Where the model does not say what is done to pixels,
    /// it is the default: 0 to 255 become 0 to 1.
    ///
    /// # Errors
    /// When the names are not one a class, each another, or the rescaling is of no use.
    pub fn config(&self, labels: Vec<String>) -> Result<ModelConfig> {
        if labels.len() != self.classes {
            return Err(Error::Labels { labels: labels.len(), classes: self.classes });
        }
        ModelConfig::new(self.architecture.clone(), self.input, labels)?
            .preprocessed(self.preprocessing.unwrap_or_default())
    }
}
