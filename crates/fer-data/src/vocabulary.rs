//! The names that data sets give to their labels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{EMOTIONS, Error, FERPLUS_EMOTIONS, Result, emotions::emotion};

/// The most labels of a data set.
pub(crate) const MAX_LABELS: usize = 256;

/// The names of a data set's labels: label 0 is the first.
///
/// ```
/// use fer_data::Vocabulary;
/// let birds = Vocabulary::new(["bird", "cat", "dog"])?;
/// assert_eq!((birds.label("cat"), birds.name(2)), (Some(1), Some("dog")));
/// // Emotions are known in their usual spellings, numbers as the data set counts.
/// assert_eq!(Vocabulary::raf_db().label("happy"), Some(3));
/// assert_eq!(Vocabulary::raf_db().read("4"), Some(3));
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Vocabulary {
    names: Arc<[String]>,
    /// The number that the data set gives to label 0.
    first: u32,
}

#[derive(Serialize, Deserialize)]
struct Written {
    names: Vec<String>,
    first: u32,
}

impl Vocabulary {
    /// The vocabulary of these names.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no name or more than 256, an empty one, one with space around it and one twice.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let wrong = |found: String, allowed: &str| {
            Err(Error::Invalid { name: "class names", found, allowed: allowed.to_owned() })
        };
        if !(1..=MAX_LABELS).contains(&names.len()) {
            return wrong(names.len().to_string(), &format!("1 to {MAX_LABELS} names"));
        }
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() || name.trim() != name || name.contains(char::is_control) {
                return wrong(
                    format!("`{}`", name.escape_debug()),
                    "names without space around them, at least a letter long",
                );
            }
            if names[..i].contains(name) {
                return wrong(format!("`{name}` twice"), "each name once");
            }
        }
        Ok(Self { names: names.into(), first: 0 })
    }

    fn of(names: &[&str], first: u32) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), first }
    }

    /// FER2013's, [`EMOTIONS`] (Goodfellow et al. 2013).
    pub fn fer2013() -> Self {
        Self::of(&EMOTIONS, 0)
    }

    /// FER+'s, [`FERPLUS_EMOTIONS`]: FER2013's and contempt (Barsoum et al. 2016).
    pub fn ferplus() -> Self {
        Self::of(&FERPLUS_EMOTIONS, 0)
    }

    /// RAF-DB's basic emotions (Li, Deng and Du 2017), 1 to 7 in its `EmoLabel/list_patition_label.txt`.
    pub fn raf_db() -> Self {
        Self::of(&["surprise", "fear", "disgust", "happy", "sad", "anger", "neutral"], 1)
    }

    /// AffectNet's (Mollahosseini, Hasani and Mahoor 2017), 0 to 7 in its column `expression`; 8 none, 9 uncertain and 10 no face
    /// are not read.
    pub fn affectnet() -> Self {
        Self::of(&["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"], 0)
    }

    /// CK+'s (Lucey et al. 2010), 0 to 7 as the ReadMe of its distribution of 28 September 2010 lists them.
    pub fn ck_plus() -> Self {
        Self::of(&["neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprise"], 0)
    }

    /// JAFFE's (Lyons et al. 1998), which has no numbers: in the order of the letters in its files' names, AN, DI, FE, HA, NE,
    /// SA and SU.
    pub fn jaffe() -> Self {
        Self::of(&["anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"], 0)
    }

    /// Numbers as names, for labels under `n` of which nothing else is known.
    pub(crate) fn numbered(n: usize) -> Self {
        Self { names: (0..n).map(|label| format!("class_{label}")).collect(), first: 0 }
    }

    /// The names, from label 0.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of a label; none for a label beyond the names.
    pub fn name(&self, label: u32) -> Option<&str> {
        self.names.get(label as usize).map(String::as_str)
    }

    /// The label of a name, in small or capital letters, or of an emotion in another usual spelling.
    pub fn label(&self, name: &str) -> Option<u32> {
        let place = |found: &dyn Fn(&str) -> bool| self.names.iter().position(|name| found(name));
        let same =
            place(&|own| own == name).or_else(|| place(&|own| own.to_lowercase() == name.to_lowercase()));
        let spelled = || {
            let wanted = emotion(name)?;
            place(&|own| emotion(own) == Some(wanted))
        };
        same.or_else(spelled).map(|place| place as u32)
    }

    /// The label of a name, as [`label`](Self::label), or of a number as the data set's files have it. Where a name is a
    /// number itself, numbers are names alone.
    pub fn read(&self, text: &str) -> Option<u32> {
        let numbered =
            |number: u32| number.checked_sub(self.first).filter(|label| self.name(*label).is_some());
        self.label(text).or_else(|| match self.has_numbers_for_names() {
            true => None,
            false => text.parse().ok().and_then(numbered),
        })
    }

    fn has_numbers_for_names(&self) -> bool {
        self.names.iter().any(|name| name.parse::<f64>().is_ok())
    }

    /// The numbers and names that are read, for messages: `0 to 6, or anger, disgust, …`.
    pub(crate) fn allowed(&self) -> String {
        let last = self.first as usize + self.names.len() - 1;
        let shown: Vec<&str> = self.names.iter().take(12).map(String::as_str).collect();
        let more = if self.names.len() > shown.len() { ", …" } else { "" };
        let names = format!("{}{more}", shown.join(", "));
        match self.has_numbers_for_names() {
            true => names,
            false => format!("{} to {last}, or {names}", self.first),
        }
    }
}

impl TryFrom<Written> for Vocabulary {
    type Error = Error;

    fn try_from(Written { names, first }: Written) -> Result<Self> {
        Ok(Self { first, ..Self::new(names)? })
    }
}

impl From<Vocabulary> for Written {
    fn from(vocabulary: Vocabulary) -> Self {
        Self { names: vocabulary.names.to_vec(), first: vocabulary.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_spelling_and_numbers_by_the_data_sets_count() {
        let raf = Vocabulary::raf_db();
        assert_eq!(
            (raf.read("1"), raf.read("7"), raf.read("0"), raf.read("8")),
            (Some(0), Some(6), None, None)
        );
        assert_eq!(
            (raf.read("Surprised"), raf.read("HAPPINESS"), raf.read("contempt")),
            (Some(0), Some(3), None)
        );
        let affect = Vocabulary::affectnet();
        assert_eq!((affect.read("0"), affect.read("7"), affect.name(0)), (Some(0), Some(7), Some("neutral")));
        assert_eq!(Vocabulary::ck_plus().label("contemptuous"), Some(2));
        // A name that is a number is that name, and no other number is one.
        let numbers = Vocabulary::new(["7", "1"]).unwrap();
        assert_eq!((numbers.read("7"), numbers.read("1"), numbers.read("0")), (Some(0), Some(1), None));
        assert_eq!(numbers.allowed(), "7, 1");
        assert_eq!(raf.allowed(), "1 to 7, or surprise, fear, disgust, happy, sad, anger, neutral");
    }

    #[test]
    fn names_are_names() {
        let error = |names: &[&str]| Vocabulary::new(names.iter().copied()).unwrap_err().to_string();
        assert_eq!(error(&[]), "class names is 0; allowed: 1 to 256 names");
        assert_eq!(error(&["a", "b", "a"]), "class names is `a` twice; allowed: each name once");
        assert!(error(&["a", " b"]).starts_with("class names is ` b`; allowed: names without space"));
        assert!(error(&[""]).starts_with("class names is ``; allowed"));
    }

    #[test]
    fn a_vocabulary_is_read_as_it_was_written() {
        for vocabulary in [Vocabulary::raf_db(), Vocabulary::new(["a,b", "c"]).unwrap()] {
            let json = serde_json::to_string(&vocabulary).unwrap();
            assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
        }
        assert!(serde_json::from_str::<Vocabulary>(r#"{"names": ["a", "a"], "first": 0}"#).is_err());
    }
}
