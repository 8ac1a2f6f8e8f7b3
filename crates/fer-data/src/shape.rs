//! The shape of images, and the size that they are brought to.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The shape of every image of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Shape {
    /// Grey squares.
    pub(crate) fn grey(side: usize) -> Self {
        Self { channels: 1, height: side, width: side }
    }

    /// The values of an image, a byte each.
    pub fn values(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// `48×48 grey` or `64×48 colour`: width and height.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = if self.channels == 1 { "grey" } else { "colour" };
        write!(f, "{}×{} {colour}", self.width, self.height)
    }
}

/// The size that images are brought to. As text, in settings too, it is `48` for a square or `64x48`, width first.
///
/// ```
/// use fer_data::Size;
/// let size: Size = "64x48".parse()?;
/// assert_eq!((size.width.get(), size.height.get(), size.to_string()), (64, 48, "64x48".to_owned()));
/// assert_eq!("48".parse::<Size>()?.to_string(), "48");
/// assert!("0x48".parse::<Size>().is_err());
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns of pixels.
    pub width: NonZeroU32,
    /// Rows of pixels.
    pub height: NonZeroU32,
}

impl Size {
    /// As many rows as columns.
    pub fn square(side: NonZeroU32) -> Self {
        Self { width: side, height: side }
    }

    pub(crate) fn shape(self, channels: usize) -> Shape {
        Shape { channels, height: self.height.get() as usize, width: self.width.get() as usize }
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let side = |text: &str| text.trim().parse().ok();
        let size = match text.split_once(['x', '×']) {
            Some((width, height)) => {
                side(width).zip(side(height)).map(|(width, height)| Self { width, height })
            }
            None => side(text).map(Self::square),
        };
        size.ok_or_else(|| Error::Invalid {
            name: "size",
            found: text.to_owned(),
            allowed: "pixels a side (48), or width and height (64x48), each at least 1".to_owned(),
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width == self.height {
            true => self.width.fmt(f),
            false => write!(f, "{}x{}", self.width, self.height),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Side(NonZeroU32),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Side(side) => Ok(Self::square(side)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
