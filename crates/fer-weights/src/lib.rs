#![doc = include_str!("../README.md")]
#![doc = include_str!("../weights/CARD.md")]

/// The model card, Markdown.
pub const CARD: &str = include_str!("../weights/CARD.md");

/// The weights, a safetensors file of 16-bit numbers.
pub const SAFETENSORS: &[u8] = include_bytes!("../weights/model.safetensors");

/// The architecture, the labels and the preprocessing, as fer-model writes them.
pub const TOML: &str = include_str!("../weights/model.toml");
