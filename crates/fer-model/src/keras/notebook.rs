//! Files of weights alone, of the notebook's network with any blocks: the weights tell the rest.

use std::collections::HashMap;

use serde_json::Value;

use super::export::model_config;
use super::file::{KerasFile, StoredLayer};
use crate::layer_config::LayerKind;
use crate::{BlockConfig, DcnnConfig, Error, Result};

/// The description of the notebook's network that has weights of these shapes, for images of `side` pixels. The layers get
/// its names: those with the notebook's are found by name, others are taken in the file's order, each kind for itself.
///
/// What the weights do not say, the rates of dropout, is the notebook's.
pub(super) fn describe(stored: &mut KerasFile, side: usize, file: &str) -> Result<Value> {
    sort_by_name(&mut stored.layers);
    let classes = stored.layers.iter().map(|layer| layer.class(file)).collect::<Result<Vec<_>, _>>()?;
    let dcnn = from_weights(&stored.layers, &classes, side, file)?;
    dcnn.validate().map_err(|e| Error::keras(file, e))?;
    let mut taken = vec![false; classes.len()];
    for layer in dcnn.layers()?.iter().filter(|layer| !layer.tensors.is_empty()) {
        let next = (0..classes.len()).find(|&i| !taken[i] && classes[i] == layer.class);
        // There are as many of each class: their number told the blocks.
        if let Some(next) = next {
            taken[next] = true;
            stored.layers[next].rename(&layer.name);
        }
    }
    model_config(&dcnn)
}

/// Puts the layers into the network's order when their names are the notebook's, all of them.
fn sort_by_name(stored: &mut [StoredLayer]) {
    // Two convolutions, each with a batch norm, a block; three more layers at the end.
    let blocks = stored.len().saturating_sub(3) / 4;
    let block = BlockConfig { filters: 1, kernel: 1, dropout: 0.0 };
    let names = DcnnConfig { blocks: vec![block; blocks], ..Default::default() }.layer_configs();
    let has_weights = |kind: &LayerKind| {
        matches!(kind, LayerKind::Conv2d { .. } | LayerKind::Dense { .. } | LayerKind::BatchNorm { .. })
    };
    let weighted = names.into_iter().filter(|layer| has_weights(&layer.is));
    let positions: HashMap<String, usize> = weighted.map(|layer| layer.name).zip(0..).collect();
    if stored.len() == positions.len() && stored.iter().all(|layer| positions.contains_key(&layer.name)) {
        stored.sort_by_key(|layer| positions[&layer.name]);
    }
}

/// The network whose layers of these classes have these weights.
fn from_weights(layers: &[StoredLayer], classes: &[&str], side: usize, file: &str) -> Result<DcnnConfig> {
    let kernels = |class| -> Vec<_> {
        let of_class = layers.iter().zip(classes).filter(|(_, c)| **c == class);
        of_class.filter_map(|(layer, _)| layer.weights.first()).collect()
    };
    let (convs, dense) = (kernels("Conv2D"), kernels("Dense"));
    let norms = kernels("BatchNormalization").len();
    let (&[hidden, out], true) =
        (&dense[..], convs.len() >= 2 && convs.len() % 2 == 0 && norms == convs.len() + 1)
    else {
        return Err(Error::keras(
            file,
            format!(
                "{} Conv2D, {norms} BatchNormalization and {} Dense layers, expected two Conv2D a block, one \
                 BatchNormalization more than these, and two Dense",
                convs.len(),
                dense.len()
            ),
        ));
    };
    let defaults = DcnnConfig::default();
    let blocks: Vec<BlockConfig> = (0..convs.len() / 2)
        .map(|i| BlockConfig {
            filters: convs[2 * i].shape[3],
            kernel: convs[2 * i].shape[0],
            dropout: defaults.blocks.get(i).or(defaults.blocks.last()).map_or(0.0, |block| block.dropout),
        })
        .collect();
    Ok(DcnnConfig {
        classes: out.shape[1],
        channels: convs[0].shape[2],
        height: side,
        width: side,
        dense_units: hidden.shape[1],
        blocks,
        ..defaults
    })
}
