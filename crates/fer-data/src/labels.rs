//! The seven emotions of FER2013, and the encoding of those chosen as classes 0, 1, 2 ….

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The emotions by their code in FER2013, 0 to 6.
pub const EMOTIONS: [&str; 7] = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

/// The code of an emotion in any usual spelling, or in digits. Case is ignored.
///
/// ```
/// assert_eq!(fer_data::emotion_code("Happiness"), Some(3));
/// assert_eq!(fer_data::emotion_code("6"), Some(6));
/// assert_eq!(fer_data::emotion_code("bored"), None);
/// ```
pub fn emotion_code(name: &str) -> Option<u8> {
    Some(match name.to_lowercase().as_str() {
        "0" | "anger" | "angry" => 0,
        "1" | "disgust" | "disgusted" => 1,
        "2" | "fear" | "fearful" | "afraid" | "scared" => 2,
        "3" | "happy" | "happiness" | "joy" => 3,
        "4" | "sad" | "sadness" => 4,
        "5" | "surprise" | "surprised" => 5,
        "6" | "neutral" => 6,
        _ => return None,
    })
}

/// Labels to classes and back: the labels sorted, each encoded as its place, as scikit-learn's `LabelEncoder`.
///
/// ```
/// let encoder = fer_data::LabelEncoder::new(&[6, 3, 4])?;
/// assert_eq!(encoder.names(), ["happy", "sad", "neutral"]);
/// assert_eq!(encoder.encode(6)?, 2);
/// assert_eq!(encoder.decode(2)?, 6);
/// assert_eq!(encoder.encode(5).unwrap_err().to_string(), "label 5 is not among the classes [3, 4, 6]");
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct LabelEncoder(Vec<u8>);

impl LabelEncoder {
    /// The encoder of these labels, in any order, repeated or not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label over 6.
    pub fn new(labels: &[u8]) -> Result<Self> {
        let mut present = [false; EMOTIONS.len()];
        for &label in labels {
            *present.get_mut(usize::from(label)).ok_or_else(|| Error::Invalid {
                name: "label",
                found: label.to_string(),
                allowed: "0 to 6".to_owned(),
            })? = true;
        }
        Ok(Self((0..).zip(present).filter_map(|(label, present)| present.then_some(label)).collect()))
    }

    /// The class of a label, from 0.
    ///
    /// # Errors
    /// [`Error::UnseenLabel`] for a label that is not among the classes.
    pub fn encode(&self, label: u8) -> Result<u32> {
        match self.0.binary_search(&label) {
            Ok(class) => Ok(class as u32),
            Err(_) => Err(Error::UnseenLabel { label, classes: self.0.clone() }),
        }
    }

    /// The label of a class.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a class that does not exist.
    pub fn decode(&self, class: u32) -> Result<u8> {
        self.0.get(class as usize).copied().ok_or_else(|| Error::Invalid {
            name: "class",
            found: class.to_string(),
            allowed: format!("under {}", self.0.len()),
        })
    }

    /// The labels, sorted: the label of class 0, of class 1 ….
    pub fn labels(&self) -> &[u8] {
        &self.0
    }

    /// The names of the classes, from class 0.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|&label| EMOTIONS[usize::from(label)]).collect()
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<u8>> for LabelEncoder {
    type Error = Error;

    fn try_from(labels: Vec<u8>) -> Result<Self> {
        Self::new(&labels)
    }
}

impl From<LabelEncoder> for Vec<u8> {
    fn from(encoder: LabelEncoder) -> Self {
        encoder.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_over_6_is_refused_by_name() {
        let error = LabelEncoder::new(&[3, 7]).unwrap_err();
        assert_eq!(error.to_string(), "label is 7; allowed: 0 to 6");
        assert!(serde_json::from_str::<LabelEncoder>("[3,7]").is_err());
    }

    #[test]
    fn every_emotion_is_known_by_its_own_name() {
        for (code, name) in (0..).zip(EMOTIONS) {
            assert_eq!(emotion_code(name), Some(code));
        }
    }
}
