//! The networks that find faces.

use candle_core::Result;
use image::RgbImage;

#[cfg(feature = "centerface")]
use crate::centerface::{self, CenterFace};
use crate::yunet::{self, Found, YuNet};

/// The network that finds the faces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// YuNet-s, the fast one: 258 million multiplications in a picture of 640×480.
    #[default]
    YuNet,
    /// CenterFace, the thorough one, of the feature `centerface`: 1,852 million multiplications. It finds more of the smallest
    /// faces and of those tilted by 30° and more.
    ///
    /// ```
    /// use fer_detect::{Detector, DetectorConfig, Network};
    ///
    /// let detector = Detector::with(DetectorConfig { network: Network::CenterFace, ..Default::default() })?;
    /// let photo = image::DynamicImage::new_rgb8(64, 48);
    /// assert!(detector.detect(&photo)?.is_empty());
    /// # Ok::<(), fer_detect::Error>(())
    /// ```
    #[cfg(feature = "centerface")]
    CenterFace,
}

impl Network {
    /// The least score of a face unless [`DetectorConfig::threshold`](crate::DetectorConfig::threshold) says another: YuNet's
    /// 0.7, CenterFace's 0.35.
    pub fn threshold(self) -> f32 {
        match self {
            Self::YuNet => 0.7,
            #[cfg(feature = "centerface")]
            Self::CenterFace => 0.35,
        }
    }
}

/// A network with its weights.
#[derive(Clone, Debug)]
pub(crate) enum Finder {
    YuNet(YuNet),
    #[cfg(feature = "centerface")]
    CenterFace(CenterFace),
}

impl Finder {
    pub fn new(network: Network) -> Result<Self> {
        Ok(match network {
            Network::YuNet => Self::YuNet(YuNet::new()?),
            #[cfg(feature = "centerface")]
            Network::CenterFace => Self::CenterFace(CenterFace::new()?),
        })
    }

    /// The faces of a picture that have at least this score, the surest first.
    pub fn find(&self, picture: &RgbImage, threshold: f32) -> Result<Vec<Found>> {
        match self {
            Self::YuNet(network) => network.find(picture, threshold),
            #[cfg(feature = "centerface")]
            Self::CenterFace(network) => network.find(picture, threshold),
        }
    }

    /// Boxes of one face overlap by more than this.
    pub fn overlap(&self) -> f32 {
        match self {
            Self::YuNet(_) => yunet::OVERLAP,
            #[cfg(feature = "centerface")]
            Self::CenterFace(_) => centerface::OVERLAP,
        }
    }
}
