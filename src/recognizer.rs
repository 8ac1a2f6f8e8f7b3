//! From a photo to the expressions in it.

use fer_detect::{Detector, Face, Framing, Point, Rect, Square};
use fer_model::{Classifier, Prediction};
use image::{DynamicImage, RgbImage};
use rayon::prelude::*;
use serde::Serialize;

use crate::Result;

/// A face in a picture and what it shows.
///
/// It is written as `{"box":[x,y,width,height],"score":0.9,"label":"happy","probabilities":{…}}`, in pixels of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceExpression {
    /// Where it is.
    pub face: Face,
    /// What it shows.
    pub prediction: Prediction,
}

/// A face and the part of its picture that the classifier sees.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceCrop {
    /// Where it is.
    pub face: Face,
    /// The face alone; the classifier makes it grey and of its size where it is not.
    pub crop: DynamicImage,
    /// What `crop` shows of the picture.
    pub area: Area,
}

/// A rectangle of a picture, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Area {
    /// The middle, from the left and from the top.
    pub center: [f32; 2],
    /// Width and height.
    pub size: [f32; 2],
    /// How far it is turned, in degrees, clockwise.
    pub roll: f32,
}

impl From<Square> for Area {
    fn from(Square { center, side, roll }: Square) -> Self {
        Self { center: [center.x, center.y], size: [side; 2], roll }
    }
}

impl FaceCrop {
    /// The whole of a picture taken for a face.
    pub fn whole(picture: RgbImage) -> Self {
        let (width, height) = (picture.width() as f32, picture.height() as f32);
        let bounds = Rect { x: 0.0, y: 0.0, width, height };
        let face = Face { bounds, score: 1.0, landmarks: [Point::default(); 5], eyes: None };
        let area = Area { center: [width / 2.0, height / 2.0], size: [width, height], roll: 0.0 };
        Self { face, crop: picture.into(), area }
    }
}

/// Finds faces in pictures and says what each shows.
///
/// ```
/// # #[cfg(feature = "pretrained")] {
/// let recognizer = fer::Recognizer::pretrained()?;
/// let photo = image::open("crates/fer-detect/tests/photos/astronaut.png").unwrap();
/// for found in recognizer.recognize(&photo)? {
///     println!("{:?} {} {:?}", found.face.bounds, found.prediction.label, found.prediction.probabilities);
/// }
/// # }
/// # Ok::<(), fer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recognizer {
    detector: Detector,
    classifier: Classifier,
}

impl Recognizer {
    /// The detector and the model that come with the project.
    ///
    /// # Errors
    /// When there is no memory for them.
    #[cfg(feature = "pretrained")]
    pub fn pretrained() -> Result<Self> {
        Ok(Self::new(Detector::new()?, Classifier::pretrained()?))
    }

    /// A recognizer of these parts. The classifier is shown each face upright, framed as FER2013's are.
    pub fn new(detector: Detector, classifier: Classifier) -> Self {
        Self { detector, classifier }
    }

    /// What judges the faces.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The names of the expressions, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        self.classifier.labels()
    }

    /// The faces of a picture, the surest first, and what they show.
    ///
    /// # Errors
    /// When there is no memory, or the model takes other than grey or RGB images.
    pub fn recognize(&self, picture: &DynamicImage) -> Result<Vec<FaceExpression>> {
        match picture {
            DynamicImage::ImageRgb8(picture) => self.recognize_rgb(picture),
            other => self.recognize_rgb(&other.to_rgb8()),
        }
    }

    /// The same, of a picture in red, green and blue.
    ///
    /// # Errors
    /// As [`recognize`](Self::recognize).
    pub fn recognize_rgb(&self, picture: &RgbImage) -> Result<Vec<FaceExpression>> {
        let mut answers = self.recognize_batch(std::slice::from_ref(picture))?;
        // One picture gives one answer.
        Ok(answers.swap_remove(0))
    }

    /// The same of many pictures, in their order: several at a time, and all faces in one pass of the classifier.
    ///
    /// # Errors
    /// As [`recognize`](Self::recognize).
    pub fn recognize_batch(&self, pictures: &[RgbImage]) -> Result<Vec<Vec<FaceExpression>>> {
        self.classify(pictures.par_iter().map(|picture| self.find(picture)).collect::<Result<_, _>>()?)
    }

    /// The first half of the work: the faces of a picture and what the classifier is to see of each.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn find(&self, picture: &RgbImage) -> Result<Vec<FaceCrop>> {
        let input = self.classifier.input();
        let side = input.height.max(input.width) as u32;
        let crop = |face: &Face| match input.channels {
            1 => face.crop(picture, side).into(),
            _ => face.square(Framing::FER2013).cut(picture, side).into(),
        };
        let faces = self.detector.detect_rgb(picture)?;
        let found =
            |face: Face| FaceCrop { crop: crop(&face), area: face.square(Framing::FER2013).into(), face };
        Ok(faces.into_par_iter().map(found).collect())
    }

    /// The second half: what the faces of each picture show, all in one pass of the classifier.
    ///
    /// # Errors
    /// As [`recognize`](Self::recognize).
    pub fn classify(&self, found: Vec<Vec<FaceCrop>>) -> Result<Vec<Vec<FaceExpression>>> {
        let (counts, faces): (Vec<usize>, Vec<Vec<FaceCrop>>) =
            found.into_iter().map(|faces| (faces.len(), faces)).unzip();
        let (faces, crops): (Vec<Face>, Vec<DynamicImage>) =
            faces.into_iter().flatten().map(|FaceCrop { face, crop, .. }| (face, crop)).unzip();
        let predictions = self.classifier.predict_batch(&crops)?;
        let mut all =
            faces.into_iter().zip(predictions).map(|(face, prediction)| FaceExpression { face, prediction });
        Ok(counts.into_iter().map(|count| all.by_ref().take(count).collect()).collect())
    }
}

#[cfg(all(test, feature = "pretrained"))]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_what_each_picture_alone_says() {
        let recognizer = Recognizer::pretrained().unwrap();
        let photo = |name| image::open(format!("crates/fer-detect/tests/photos/{name}")).unwrap().to_rgb8();
        let photos = [photo("coffee.png"), photo("astronaut.png"), RgbImage::new(0, 0), photo("camera.png")];
        let together = recognizer.recognize_batch(&photos).unwrap();
        assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0, 1]);
        for (photo, answer) in photos.iter().zip(&together) {
            let alone = recognizer.recognize_rgb(photo).unwrap();
            for (alone, together) in alone.iter().zip(answer) {
                assert_eq!(
                    (alone.face, &alone.prediction.label),
                    (together.face, &together.prediction.label)
                );
            }
        }
        assert_eq!(together[1][0].prediction.label, "happy");
    }
}
