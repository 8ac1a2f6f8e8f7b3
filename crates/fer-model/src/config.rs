//! The architecture as a value: what a `model.toml` holds and what the network is made from.

use fer_nn::MovingVariance;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The architecture of a [`Dcnn`](crate::Dcnn). The default is the notebook's: 48×48 grey faces, three classes.
///
/// ```
/// use fer_model::DcnnConfig;
/// let seven = DcnnConfig { classes: 7, ..Default::default() };
/// assert_eq!(seven.parameters().total(), 2_395_591);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcnnConfig {
    /// Classes to tell apart, at least 2.
    pub classes: usize,
    /// Channels of an image: 1 for grey.
    pub channels: usize,
    /// Rows of an image; each block halves them.
    pub height: usize,
    /// Columns of an image; each block halves them.
    pub width: usize,
    /// Units of the dense layer before the output.
    pub dense_units: usize,
    /// The dropout rate before the output, in 0..1.
    pub dense_dropout: f32,
    /// Which variance of a batch enters the moving variance.
    pub moving_variance: MovingVariance,
    /// The convolutional blocks, first to last, at least one.
    pub blocks: Vec<BlockConfig>,
}

/// A block: two convolutions with ELU, each followed by batch normalisation, then 2×2 max pooling and dropout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Output channels of both convolutions.
    pub filters: usize,
    /// Rows and columns of the kernels.
    pub kernel: usize,
    /// The dropout rate after the pooling, in 0..1.
    pub dropout: f32,
}

impl Default for DcnnConfig {
    fn default() -> Self {
        Self {
            classes: 3,
            channels: 1,
            height: 48,
            width: 48,
            dense_units: 128,
            dense_dropout: 0.6,
            moving_variance: MovingVariance::Notebook,
            blocks: vec![
                BlockConfig { filters: 64, kernel: 5, dropout: 0.4 },
                BlockConfig { filters: 128, kernel: 3, dropout: 0.4 },
                BlockConfig { filters: 256, kernel: 3, dropout: 0.5 },
            ],
        }
    }
}

/// Kernels and filters beyond these are taken for a damaged file, not for a network.
const MAX_UNITS: usize = 1 << 16;

impl DcnnConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is out of range, its value and what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        let size = |field: &str, value: usize, least: usize| {
            if (least..=MAX_UNITS).contains(&value) {
                return Ok(());
            }
            Err(Error::config(field, value, format!("{least} to {MAX_UNITS}")))
        };
        let rate = |field: &str, value: f32| {
            if (0.0..1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::config(field, value, "at least 0 and below 1"))
        };
        size("classes", self.classes, 2)?;
        size("channels", self.channels, 1)?;
        size("dense_units", self.dense_units, 1)?;
        rate("dense_dropout", self.dense_dropout)?;
        if !(1..=16).contains(&self.blocks.len()) {
            return Err(Error::config("blocks", self.blocks.len(), "1 to 16 blocks"));
        }
        size("height", self.height, 1 << self.blocks.len())?;
        size("width", self.width, 1 << self.blocks.len())?;
        for (i, block) in self.blocks.iter().enumerate() {
            size(&format!("blocks[{i}].filters"), block.filters, 1)?;
            rate(&format!("blocks[{i}].dropout"), block.dropout)?;
            if !(1..=31).contains(&block.kernel) || block.kernel % 2 == 0 {
                return Err(Error::config(&format!("blocks[{i}].kernel"), block.kernel, "odd, 1 to 31"));
            }
        }
        Ok(())
    }

    /// Values of one image after the last block: `(channels, height, width)`.
    pub(crate) fn features(&self) -> (usize, usize, usize) {
        let halvings = self.blocks.len() as u32;
        let channels = self.blocks.last().map_or(self.channels, |block| block.filters);
        (channels, self.height >> halvings, self.width >> halvings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notebooks_architecture_is_valid_and_survives_toml() {
        let config = DcnnConfig::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<DcnnConfig>(&text).unwrap(), config);
    }

    #[test]
    fn an_invalid_value_is_named_with_what_is_allowed() {
        let error = |change: fn(&mut DcnnConfig)| {
            let mut config = DcnnConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(error(|c| c.classes = 1), "classes is 1, allowed: 2 to 65536");
        assert_eq!(error(|c| c.width = 7), "width is 7, allowed: 8 to 65536");
        assert_eq!(error(|c| c.blocks[1].kernel = 4), "blocks[1].kernel is 4, allowed: odd, 1 to 31");
        assert_eq!(error(|c| c.dense_dropout = 1.0), "dense_dropout is 1, allowed: at least 0 and below 1");
        assert_eq!(error(|c| c.blocks.clear()), "blocks is 0, allowed: 1 to 16 blocks");
        let typo = toml::from_str::<DcnnConfig>("clases = 3").unwrap_err().to_string();
        assert!(typo.contains("unknown field `clases`"), "{typo}");
    }
}
