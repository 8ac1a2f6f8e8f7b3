//! The flags that say how data is read where it is not as it should be.

use std::num::NonZeroU32;

use clap::Args;
use fer_data::ReadConfig;

/// How data is read where it is not as it should be.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadArgs {
    /// Resize images of any size to so many pixels a side while they are read.
    #[arg(long, value_name = "PIXELS", requires = "data")]
    pub side: Option<NonZeroU32>,
    /// Take a JPEG that is cut off as far as it goes.
    #[arg(long, requires = "data")]
    pub allow_truncated: bool,
}

impl ReadArgs {
    /// The same for fer-data.
    pub fn config(&self) -> ReadConfig {
        ReadConfig { side: self.side, allow_truncated: self.allow_truncated }
    }
}
