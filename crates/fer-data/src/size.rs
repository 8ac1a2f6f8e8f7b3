//! The size that images are brought to, and the memory that they take.

use std::{fmt, num::NonZeroU32, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Shape};

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

/// The most that the pixels of all images may take.
const MAX_BYTES: u64 = 8 << 30;

/// The bytes of so many images of this shape; `data` stands for them in errors.
pub(crate) fn bytes(data: &Path, images: usize, shape: Shape) -> Result<usize> {
    let Shape { channels, height, width } = shape;
    let bytes =
        [channels, height, width].iter().fold(images as u128, |all, n| all.saturating_mul(*n as u128));
    match usize::try_from(bytes) {
        Ok(size) if size as u64 <= MAX_BYTES => Ok(size),
        _ => Err(Error::TooLarge {
            path: data.to_owned(),
            images,
            shape,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            limit: MAX_BYTES,
        }),
    }
}
