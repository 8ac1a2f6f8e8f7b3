//! The flags that say how data is read where it is not as it should be.

use clap::Args;
use fer_data::{Classes, ReadConfig, Size};

/// How data is read where it is not as it should be.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadArgs {
    /// The classes: fer2013, ferplus, raf_db, affectnet, ck_plus, jaffe, as_found for those that folders or labels have, or
    /// names with commas between them [default: fer2013].
    #[arg(long, requires = "data")]
    pub classes: Option<Classes>,
    /// Resize images of any size while they are read: pixels a side (48), or width and height (64x48).
    #[arg(long, value_name = "PIXELS", requires = "data")]
    pub size: Option<Size>,
    /// Keep colour, in three channels; otherwise it becomes grey.
    #[arg(long, requires = "data")]
    pub colour: bool,
    /// Take a JPEG that is cut off as far as it goes.
    #[arg(long, requires = "data")]
    pub allow_truncated: bool,
}

impl ReadArgs {
    /// The same for fer-data.
    pub fn config(&self) -> ReadConfig {
        let classes = self.classes.clone().unwrap_or_default();
        let Self { size, colour, allow_truncated, .. } = *self;
        ReadConfig { classes, size, colour, allow_truncated }
    }
}
