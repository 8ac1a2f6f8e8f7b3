//! The encoding of the emotions that are chosen as classes 0, 1, 2 ….

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Vocabulary};

/// Labels to classes and back: the labels sorted, each encoded as its place, as scikit-learn's `LabelEncoder`.
///
/// It knows the names of its labels: those of a [`Vocabulary`].
///
/// ```
/// use fer_data::LabelEncoder;
/// let encoder = LabelEncoder::new(&[6, 3, 4])?;
/// assert_eq!(encoder.names(), ["happy", "sad", "neutral"]);
/// assert_eq!(encoder.encode(6)?, 2);
/// assert_eq!(encoder.decode(2)?, 6);
/// assert_eq!(encoder.encode(5).unwrap_err().to_string(), "label 5 is not among the classes 3 happy, 4 sad, 6 neutral");
/// assert_eq!(LabelEncoder::ferplus(&[7, 0])?.names(), ["anger", "contempt"]);
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct LabelEncoder {
    labels: Vec<u32>,
    vocabulary: Vocabulary,
}

/// The encoder in a file: of FER2013's emotions the list of labels, of FER+'s the list with its name, of others both lists.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Fer2013(Vec<u32>),
    FerPlus { ferplus: Vec<u32> },
    Other { labels: Vec<u32>, vocabulary: Vocabulary },
}

impl LabelEncoder {
    /// The encoder of these labels of [`EMOTIONS`](crate::EMOTIONS), in any order, repeated or not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label over 6.
    pub fn new(labels: &[u32]) -> Result<Self> {
        Self::of(labels, &Vocabulary::fer2013())
    }

    /// The encoder of these labels of [`FERPLUS_EMOTIONS`](crate::FERPLUS_EMOTIONS), in any order, repeated or not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label over 7.
    pub fn ferplus(labels: &[u32]) -> Result<Self> {
        Self::of(labels, &Vocabulary::ferplus())
    }

    /// All names of a vocabulary as classes.
    pub fn all_of(vocabulary: &Vocabulary) -> Self {
        let labels = (0..vocabulary.names().len() as u32).collect();
        Self { labels, vocabulary: vocabulary.clone() }
    }

    /// The encoder of these labels, each the place of its name in `vocabulary`, in any order, repeated or not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label beyond the names.
    pub fn of(labels: &[u32], vocabulary: &Vocabulary) -> Result<Self> {
        let mut present = vec![false; vocabulary.names().len()];
        for &label in labels {
            *present.get_mut(label as usize).ok_or_else(|| Error::Invalid {
                name: "label",
                found: label.to_string(),
                allowed: format!("0 to {}", vocabulary.names().len() - 1),
            })? = true;
        }
        let labels = (0..).zip(present).filter_map(|(label, present)| present.then_some(label)).collect();
        Ok(Self { labels, vocabulary: vocabulary.clone() })
    }

    /// The class of a label, from 0.
    ///
    /// # Errors
    /// [`Error::UnseenLabel`] for a label that is not among the classes.
    pub fn encode(&self, label: u32) -> Result<u32> {
        match self.labels.binary_search(&label) {
            Ok(class) => Ok(class as u32),
            Err(_) => Err(Error::UnseenLabel { label, classes: self.named() }),
        }
    }

    /// The label of a class.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a class that does not exist.
    pub fn decode(&self, class: u32) -> Result<u32> {
        self.labels.get(class as usize).copied().ok_or_else(|| Error::Invalid {
            name: "class",
            found: class.to_string(),
            allowed: format!("under {}", self.labels.len()),
        })
    }

    /// The labels, sorted: the label of class 0, of class 1 ….
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of all labels there can be, chosen or not.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The name of a label, whether it is among the classes or not; none for a label beyond the vocabulary.
    pub fn name(&self, label: u32) -> Option<&str> {
        self.vocabulary.name(label)
    }

    /// The names of the classes, from class 0.
    pub fn names(&self) -> Vec<&str> {
        self.labels.iter().filter_map(|&label| self.name(label)).collect()
    }

    /// The labels with their names, as messages show them: `3 happy, 4 sad`.
    pub(crate) fn named(&self) -> String {
        let named: Vec<String> = self
            .labels
            .iter()
            .map(|&label| format!("{label} {}", self.name(label).unwrap_or_default()))
            .collect();
        named.join(", ")
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

impl Default for LabelEncoder {
    /// No class.
    fn default() -> Self {
        Self { labels: Vec::new(), vocabulary: Vocabulary::fer2013() }
    }
}

impl TryFrom<Written> for LabelEncoder {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        match written {
            Written::Fer2013(labels) => Self::new(&labels),
            Written::FerPlus { ferplus } => Self::ferplus(&ferplus),
            Written::Other { labels, vocabulary } => Self::of(&labels, &vocabulary),
        }
    }
}

impl From<LabelEncoder> for Written {
    fn from(encoder: LabelEncoder) -> Self {
        let LabelEncoder { labels, vocabulary } = encoder;
        match vocabulary {
            known if known == Vocabulary::fer2013() => Self::Fer2013(labels),
            known if known == Vocabulary::ferplus() => Self::FerPlus { ferplus: labels },
            vocabulary => Self::Other { labels, vocabulary },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EMOTIONS, FERPLUS_EMOTIONS};

    #[test]
    fn a_label_over_6_is_refused_by_name() {
        let error = LabelEncoder::new(&[3, 7]).unwrap_err();
        assert_eq!(error.to_string(), "label is 7; allowed: 0 to 6");
        assert!(serde_json::from_str::<LabelEncoder>("[3,7]").is_err());
    }

    #[test]
    fn contempt_is_the_eighth_of_ferplus() {
        assert_eq!(FERPLUS_EMOTIONS[..7], EMOTIONS);
        let error = LabelEncoder::ferplus(&[8]).unwrap_err();
        assert_eq!(error.to_string(), "label is 8; allowed: 0 to 7");
        let all = LabelEncoder::all_of(&Vocabulary::ferplus());
        assert_eq!(all, LabelEncoder::ferplus(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap());
        assert_eq!((all.name(7), all.name(8)), (Some("contempt"), None));
        assert_ne!(LabelEncoder::new(&[3]).unwrap(), LabelEncoder::ferplus(&[3]).unwrap());
    }

    #[test]
    fn an_encoder_is_read_as_it_was_written() {
        for (encoder, json) in [
            (LabelEncoder::new(&[6, 3]).unwrap(), "[3,6]"),
            (LabelEncoder::ferplus(&[7, 3]).unwrap(), r#"{"ferplus":[3,7]}"#),
            (
                LabelEncoder::of(&[1], &Vocabulary::new(["bird", "cat"]).unwrap()).unwrap(),
                r#"{"labels":[1],"vocabulary":{"names":["bird","cat"],"first":0}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&encoder).unwrap(), json);
            assert_eq!(serde_json::from_str::<LabelEncoder>(json).unwrap(), encoder);
        }
    }
}
