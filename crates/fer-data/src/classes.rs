//! Which names a data set's labels have, where it is read.

use std::{convert::Infallible, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Result, Vocabulary, vocabulary::MAX_LABELS};

/// Which classes a file or folder has.
///
/// ```
/// use fer_data::Classes;
/// assert_eq!("raf_db".parse::<Classes>().unwrap(), Classes::RafDb);
/// assert_eq!("bird,cat".parse::<Classes>().unwrap(), Classes::Named(vec!["bird".into(), "cat".into()]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Classes {
    /// [`Vocabulary::fer2013`].
    #[default]
    Fer2013,
    /// [`Vocabulary::ferplus`].
    Ferplus,
    /// [`Vocabulary::raf_db`].
    RafDb,
    /// [`Vocabulary::affectnet`].
    Affectnet,
    /// [`Vocabulary::ck_plus`].
    CkPlus,
    /// [`Vocabulary::jaffe`].
    Jaffe,
    /// These names; numbers count them from 0.
    Named(Vec<String>),
    /// The names that the folders or the labels of the table have, sorted: numbers by their value, others by their letters.
    AsFound,
}

impl Classes {
    /// The names; none where they are found by reading.
    ///
    /// # Errors
    /// As [`Vocabulary::new`].
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>> {
        Ok(Some(match self {
            Self::Fer2013 => Vocabulary::fer2013(),
            Self::Ferplus => Vocabulary::ferplus(),
            Self::RafDb => Vocabulary::raf_db(),
            Self::Affectnet => Vocabulary::affectnet(),
            Self::CkPlus => Vocabulary::ck_plus(),
            Self::Jaffe => Vocabulary::jaffe(),
            Self::Named(names) => Vocabulary::new(names.iter().cloned())?,
            Self::AsFound => return Ok(None),
        }))
    }
}

impl FromStr for Classes {
    type Err = Infallible;

    /// A data set's name, `as_found`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.to_lowercase().replace('-', "_").as_str() {
            "fer2013" => Self::Fer2013,
            "ferplus" | "fer+" => Self::Ferplus,
            "raf_db" => Self::RafDb,
            "affectnet" => Self::Affectnet,
            "ck_plus" | "ck+" => Self::CkPlus,
            "jaffe" => Self::Jaffe,
            "as_found" => Self::AsFound,
            _ => Self::Named(text.split(',').map(str::to_owned).collect()),
        })
    }
}

/// The labels of names while they are read.
pub(crate) enum Naming {
    /// Of a vocabulary, and the texts that were read with their labels.
    Known(Vocabulary, Vec<(String, u32)>),
    /// The names that were found, in the order of their appearance.
    Found(Vec<String>),
}

impl Naming {
    pub fn of(classes: &Classes) -> Result<Self> {
        Ok(match classes.vocabulary()? {
            Some(vocabulary) => Self::Known(vocabulary, Vec::new()),
            None => Self::Found(Vec::new()),
        })
    }

    /// The label of a name or number; none when it is no class.
    pub fn label(&mut self, text: &str) -> Option<u32> {
        match self {
            Self::Known(vocabulary, seen) => {
                if let Some((_, label)) = seen.iter().find(|(known, _)| known == text) {
                    return Some(*label);
                }
                let label = vocabulary.read(text)?;
                seen.push((text.to_owned(), label));
                Some(label)
            }
            Self::Found(_) if text.is_empty() || text.contains(char::is_control) => None,
            Self::Found(names) => {
                let place = names.iter().position(|known| known == text).unwrap_or_else(|| {
                    names.push(text.to_owned());
                    names.len() - 1
                });
                (place < MAX_LABELS).then_some(place as u32)
            }
        }
    }

    /// What [`label`](Self::label) takes, for messages.
    pub fn allowed(&self) -> String {
        match self {
            Self::Known(vocabulary, _) => vocabulary.allowed(),
            Self::Found(_) => format!("at most {MAX_LABELS} names, at least a letter long"),
        }
    }

    /// The vocabulary of these labels, which become places in it.
    pub fn finish(self, labels: &mut [u32]) -> Result<Vocabulary> {
        let names = match self {
            Self::Known(vocabulary, _) => return Ok(vocabulary),
            Self::Found(names) => names,
        };
        let mut sorted = names.clone();
        sorted.sort();
        if sorted.iter().all(|name| name.parse::<i64>().is_ok()) {
            sorted.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
        }
        let vocabulary = Vocabulary::new(sorted)?;
        let places: Vec<u32> = names.iter().map(|name| vocabulary.label(name).unwrap_or_default()).collect();
        labels.iter_mut().for_each(|label| *label = places[*label as usize]);
        Ok(vocabulary)
    }
}
