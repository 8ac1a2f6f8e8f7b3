//! The detector: from a picture to its faces.

use image::{DynamicImage, RgbImage};
use rayon::prelude::*;

use crate::blaze::BlazeFace;
use crate::geometry::{Point, Rect};
use crate::network::{Finder, Network};
use crate::picture::{limited, turned};
use crate::yunet::{Found, once};
use crate::{Error, Result};

/// How far a picture is turned to find tilted faces, degrees to either side.
const TILT: f32 = 35.0;

/// How faces are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorConfig {
    /// The network that finds the faces.
    pub network: Network,
    /// The longer side of a picture is brought down to at most so many pixels, at least 32. 640 is usual,
    /// 1280 for crowds.
    pub size_limit: u32,
    /// The least score of a face, 0 to 1; none for [`Network::threshold`].
    pub threshold: Option<f32>,
    /// The least width and height of a face, in the picture's pixels.
    pub least_face: f32,
    /// Whether the picture is also looked at turned to either side: three times the work, for faces tilted by 30° and more.
    pub tilted: bool,
    /// Whether the eyes are looked for, by a second network. Without them a face has no roll.
    pub eyes: bool,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            network: Network::default(),
            size_limit: 640,
            threshold: None,
            least_face: 0.0,
            tilted: false,
            eyes: true,
        }
    }
}

/// A face in a picture, in the picture's pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// From the brow to the chin; it may reach over the picture's edge.
    pub bounds: Rect,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Eye, eye, nose, corner and corner of the mouth; of two, first the one to the left in an upright face. They are rough,
    /// and YuNet's do not turn with the face: [`eyes`](Self::eyes) are exact.
    pub landmarks: [Point; 5],
    /// The eyes, first the one to the left in an upright face; none where they were not seen or not looked for.
    pub eyes: Option<[Point; 2]>,
}

impl Face {
    /// How far the face is turned in the picture's plane, in degrees, clockwise as it is seen; none without eyes.
    pub fn roll(&self) -> Option<f32> {
        self.eyes.map(|[left, right]| (right.y - left.y).atan2(right.x - left.x).to_degrees())
    }
}

/// Finds faces in pictures. Clones share the weights.
///
/// ```
/// use fer_detect::Detector;
///
/// let detector = Detector::new()?;
/// let photo = image::DynamicImage::new_rgb8(320, 240);
/// assert!(detector.detect(&photo)?.is_empty());
/// # Ok::<(), fer_detect::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Detector {
    config: DetectorConfig,
    threshold: f32,
    faces: Finder,
    eyes: BlazeFace,
}

impl Detector {
    /// A detector with the settings of [`DetectorConfig::default`].
    ///
    /// # Errors
    /// When there is no memory for the weights.
    pub fn new() -> Result<Self> {
        Self::with(DetectorConfig::default())
    }

    /// A detector with these settings.
    ///
    /// # Errors
    /// When a setting is out of range, or there is no memory for the weights.
    pub fn with(config: DetectorConfig) -> Result<Self> {
        let DetectorConfig { network, size_limit, threshold, least_face, .. } = config;
        let threshold = threshold.unwrap_or(network.threshold());
        let wrong = |field, value: &dyn ToString, allowed| {
            Err(Error::Config { field, value: value.to_string(), allowed })
        };
        if size_limit < 32 {
            return wrong("size_limit", &size_limit, "at least 32");
        }
        if !(0.0..=1.0).contains(&threshold) {
            return wrong("threshold", &threshold, "0 to 1");
        }
        if !(least_face >= 0.0 && least_face.is_finite()) {
            return wrong("least_face", &least_face, "at least 0");
        }
        Ok(Self { config, threshold, faces: Finder::new(network)?, eyes: BlazeFace::new()? })
    }

    /// The faces of a picture, the surest first. Transparency is not looked at.
    ///
    /// # Errors
    /// When there is no memory to compute them.
    pub fn detect(&self, picture: &DynamicImage) -> Result<Vec<Face>> {
        match picture {
            DynamicImage::ImageRgb8(picture) => self.detect_rgb(picture),
            other => self.detect_rgb(&other.to_rgb8()),
        }
    }

    /// The same, of a picture in red, green and blue.
    ///
    /// # Errors
    /// As [`detect`](Self::detect).
    pub fn detect_rgb(&self, picture: &RgbImage) -> Result<Vec<Face>> {
        if picture.is_empty() {
            return Ok(Vec::new());
        }
        // On a thread of the pool from here on, not there and back for each part.
        rayon::scope(|_| self.find(picture))
    }

    fn find(&self, picture: &RgbImage) -> Result<Vec<Face>> {
        let DetectorConfig { size_limit, least_face, tilted, eyes, .. } = self.config;
        let (small, scale) = limited(picture, size_limit)?;
        let small = small.as_ref().unwrap_or(picture);
        let mut found = self.faces.find(small, self.threshold)?;
        if tilted {
            found.extend(self.find_tilted(small)?);
            found = once(&found, self.faces.overlap());
        }
        let face = |Found { bounds, score, landmarks }| {
            let bounds = bounds.scaled(scale);
            let is_large = bounds.width >= least_face && bounds.height >= least_face;
            is_large.then(|| {
                let eyes = if eyes { self.eyes.eyes(picture, bounds)? } else { None };
                Ok(Face { bounds, score, landmarks: landmarks.map(|point| point.scaled(scale)), eyes })
            })
        };
        found.into_par_iter().filter_map(face).collect()
    }

    /// What is found in the picture turned to either side, in its own pixels.
    fn find_tilted(&self, picture: &RgbImage) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        for degrees in [-TILT, TILT] {
            let (turned, back) = turned(picture, degrees);
            let found = self.faces.find(&turned, self.threshold)?;
            all.extend(found.into_iter().map(|face| Found {
                bounds: Rect::around(back(face.bounds.center()), face.bounds.width, face.bounds.height),
                landmarks: face.landmarks.map(&back),
                ..face
            }));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilted_face_is_found_where_it_is() {
        let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/astronaut.png");
        let photo = image::open(photo).unwrap().to_rgb8();
        let detector = Detector::with(DetectorConfig { tilted: true, ..Default::default() }).unwrap();
        let [upright] = detector.detect_rgb(&photo).unwrap()[..] else { panic!("one face") };
        for degrees in [-45.0, 45.0] {
            let (picture, back) = turned(&photo, degrees);
            let [face] = detector.detect_rgb(&picture).unwrap()[..] else {
                panic!("one face at {degrees}°")
            };
            let (center, expected) = (back(face.bounds.center()), upright.bounds.center());
            assert!((center.x - expected.x).hypot(center.y - expected.y) < 15.0, "{degrees}°: {face:?}");
            let turned = face.roll().unwrap() - upright.roll().unwrap();
            assert!((turned - degrees).abs() < 10.0, "{degrees}°: turned by {turned}");
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (config, field) in [
            (DetectorConfig { size_limit: 31, ..Default::default() }, "size_limit"),
            (DetectorConfig { threshold: Some(f32::NAN), ..Default::default() }, "threshold"),
            (DetectorConfig { least_face: -1.0, ..Default::default() }, "least_face"),
        ] {
            assert!(Detector::with(config).unwrap_err().to_string().starts_with(field));
        }
    }
}
