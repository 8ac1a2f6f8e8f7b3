#![doc = include_str!("../README.md")]

mod archive;
mod audit;
mod classes;
mod csv;
mod dataset;
mod drawn;
mod duplicates;
mod emotions;
mod epoch;
mod error;
mod ferplus;
mod folder;
mod labels;
mod lines;
mod loader;
mod memory;
mod open;
mod read_config;
mod row_votes;
mod shape;
mod size;
mod source;
mod split;
mod subsets;
mod targets;
#[cfg(feature = "candle")]
mod tensors;
mod usage;
mod vocabulary;
mod votes;

pub use audit::{Audit, Leakage, UsageAudit};
pub use classes::Classes;
pub use dataset::{ClassCount, Dataset};
pub use duplicates::Duplicates;
pub use emotions::{EMOTIONS, FERPLUS_EMOTIONS, emotion_code};
pub use epoch::{Batch, Epoch};
pub use error::{Error, Problem, Result};
pub use ferplus::{FerPlus, FerPlusCounts, Majority, Votes};
pub use labels::LabelEncoder;
pub use loader::{Loader, LoaderConfig, MapError};
pub use read_config::ReadConfig;
pub use shape::Shape;
pub use size::Size;
pub use source::Source;
pub use split::{Split, Stratify};
pub use subsets::Subsets;
#[cfg(feature = "candle")]
pub use tensors::Tensors;
pub use usage::Usage;
pub use vocabulary::Vocabulary;
pub use votes::{FerPlusTargets, FerPlusVoteCounts};

// Crates that public signatures name, in the version that they name.
#[cfg(feature = "candle")]
pub use candle_core;
pub use {image, ndarray};
