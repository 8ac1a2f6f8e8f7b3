#![doc = include_str!("../README.md")]

mod audit;
mod csv;
mod dataset;
mod drawn;
mod duplicates;
mod error;
mod ferplus;
mod folder;
mod labels;
mod lines;
mod loader;
mod source;
mod split;
mod subsets;
mod usage;

pub use audit::{Audit, Leakage, UsageAudit};
pub use dataset::{ClassCount, Dataset};
pub use duplicates::Duplicates;
pub use error::{Error, Problem};
pub use ferplus::{FerPlus, FerPlusCounts, Majority, Votes};
pub use labels::{EMOTIONS, LabelEncoder, emotion_code};
pub use loader::{Batch, Epoch, Loader, LoaderConfig, MapError};
pub use source::Source;
pub use split::{Split, Stratify};
pub use subsets::Subsets;
pub use usage::Usage;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
