//! The three parts of the FER2013 challenge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a row was for in the challenge of 2013: the column `Usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Usage {
    /// To train on; the folder `train`.
    Training,
    /// To validate on: the public leaderboard; the folder `valid`.
    PublicTest,
    /// To report on, once: the private leaderboard; the folder `test`.
    PrivateTest,
}

impl Usage {
    /// All, in the order of the file.
    pub const ALL: [Self; 3] = [Self::Training, Self::PublicTest, Self::PrivateTest];

    /// The usage of a folder of images by its usual names.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "train" | "training" => Self::Training,
            "valid" | "validation" | "val" | "publictest" => Self::PublicTest,
            "test" | "testing" | "privatetest" => Self::PrivateTest,
            _ => return None,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Training => "Training",
            Self::PublicTest => "PublicTest",
            Self::PrivateTest => "PrivateTest",
        })
    }
}

impl FromStr for Usage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "Training" => Ok(Self::Training),
            "PublicTest" => Ok(Self::PublicTest),
            "PrivateTest" => Ok(Self::PrivateTest),
            _ => Err(Error::Invalid {
                name: "usage",
                found: format!("`{name}`"),
                allowed: "Training, PublicTest, PrivateTest".to_owned(),
            }),
        }
    }
}
