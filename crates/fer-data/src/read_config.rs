//! How data is read.

use crate::{Classes, Size};

/// How data is read where it is not as it should be.
///
/// ```
/// use fer_data::{Dataset, ReadConfig};
///
/// let config = ReadConfig { size: Some("64x48".parse()?), colour: true, ..ReadConfig::default() };
/// assert!(Dataset::open_with("no/such/folder", &config).is_err());
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadConfig {
    /// Which classes there are.
    pub classes: Classes,
    /// Images of any size and any proportions are resized to this one by a triangle filter, as a model
    /// resizes what it is shown. They are while they are read: large pictures take no more memory than small ones. One
    /// of more than 80 million pixels is refused.
    #[serde(alias = "side")]
    pub size: Option<Size>,
    /// Colour is kept, in three channels, and grey gets equal red, green and blue. Otherwise colour becomes grey as
    /// [`DynamicImage::to_luma8`](image::DynamicImage::to_luma8) makes it.
    pub colour: bool,
    /// A JPEG that is cut off is taken as far as it goes.
    pub allow_truncated: bool,
}
