//! The votes of FER+ as targets: the share of each of eight emotions instead of one label.
//!
//! The rules are those of Barsoum et al., "Training deep networks for facial expression recognition with
//! crowd-sourced label distribution", ICMI 2016, section 3: a single vote for something is an outlier.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, FERPLUS_EMOTIONS, FerPlus, Result, Votes, row_votes::RowVotes};

/// Places of the votes for none of the emotions and for 'not a face' among all votes on an image.
const UNKNOWN: usize = FERPLUS_EMOTIONS.len();
const NOT_A_FACE: usize = UNKNOWN + 1;

/// Which targets the votes of FER+ become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FerPlusTargets {
    /// The share of each emotion: [`Dataset::with_ferplus_votes`].
    #[default]
    Votes,
    /// The winner alone: [`Dataset::with_ferplus_majority`].
    Majority,
}

impl FromStr for FerPlusTargets {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "votes" => Ok(Self::Votes),
            "majority" => Ok(Self::Majority),
            _ => Err(Error::Invalid {
                name: "ferplus_targets",
                found: format!("`{name}`"),
                allowed: "votes, majority".to_owned(),
            }),
        }
    }
}

/// What became of the rows of a [`Dataset`] whose targets are made of votes: each row is in one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FerPlusVoteCounts {
    /// Rows kept: one emotion has more votes than anything else.
    pub single_winner: usize,
    /// Rows where an emotion has the most votes and something else has as many: kept by
    /// [`Dataset::with_ferplus_votes`], dropped by [`Dataset::with_ferplus_majority`].
    pub ties: usize,
    /// Rows dropped: 'unknown', none of the emotions, wins.
    pub unknown: usize,
    /// Rows dropped: 'not a face' wins.
    pub not_a_face: usize,
    /// Rows dropped: no vote is left without the outliers.
    pub no_votes: usize,
    /// Votes, of all these rows, that were alone and so set to 0.
    pub outliers: usize,
}

impl fmt::Display for FerPlusVoteCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { single_winner, ties, unknown, not_a_face, no_votes, outliers } = self;
        write!(
            f,
            "{single_winner} rows with a single winner, {ties} ties; dropped: {unknown} unknown, {not_a_face} not a \
             face, {no_votes} without votes; {outliers} single votes set to 0"
        )
    }
}

impl Votes {
    /// The votes with each single one set to 0: what one voter alone has seen counts for nothing.
    ///
    /// ```
    /// let votes = fer_data::Votes { emotions: [0, 1, 0, 6, 0, 1, 2], unknown: 1, ..Default::default() };
    /// assert_eq!(votes.without_outliers().emotions, [0, 0, 0, 6, 0, 0, 2]);
    /// assert_eq!(votes.without_outliers().unknown, 0);
    /// ```
    pub fn without_outliers(&self) -> Self {
        let several = |votes: u8| if votes > 1 { votes } else { 0 };
        Self {
            emotions: self.emotions.map(several),
            contempt: several(self.contempt),
            unknown: several(self.unknown),
            not_a_face: several(self.not_a_face),
        }
    }
}

impl Dataset {
    /// The rows whose votes are for an emotion, with the share of each of [`FERPLUS_EMOTIONS`] among the votes for
    /// any of them as [`targets`](Self::targets), and what became of all rows.
    ///
    /// Single votes are outliers and set to 0. A row is dropped where 'unknown' or 'not a face' then has the most
    /// votes, or nothing has any; where several have the most, the first wins, and emotions come first. The winner
    /// becomes the label: of tied emotions the first in the order of [`FERPLUS_EMOTIONS`], so it is always the
    /// largest target. All eight emotions become classes, whether each occurs or not.
    ///
    /// Ties are meant to be trained on; evaluate on the rows with a single winner:
    /// [`without_ties`](Self::without_ties). Votes are joined by row. Join before [`Dataset::select`], which then
    /// chooses by the new labels and takes the shares among the chosen classes.
    ///
    /// ```no_run
    /// use fer_data::{Dataset, FerPlus, Split};
    /// let votes = FerPlus::open("fer2013new.csv")?;
    /// let (data, counts) = Dataset::open("fer2013.csv.gz")?.with_ferplus_votes(&votes)?;
    /// assert_eq!((counts.single_winner, counts.ties), (33_712, 1_776));
    /// assert_eq!(data.encoder().names()[7], "contempt");
    /// let subsets = data.split(Split::usage())?;
    /// let (train, valid) = (subsets.train, subsets.valid.without_ties());
    /// assert_eq!((train.len(), valid.len()), (28_389, 3_396));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Missing`] when there are not as many votes as rows in the source, or the source has no usages;
    /// [`Error::Line`] at a row of another usage.
    pub fn with_ferplus_votes(&self, ferplus: &FerPlus) -> Result<(Self, FerPlusVoteCounts)> {
        let mut of_row = vec![RowVotes::default(); self.source_rows()];
        let (mut kept, mut labels) = (Vec::new(), Vec::new());
        let mut counts = FerPlusVoteCounts::default();
        for (i, votes) in ferplus.of_rows(self)?.into_iter().enumerate() {
            counts.outliers += votes.all().into_iter().filter(|votes| *votes == 1).count();
            let all = votes.without_outliers().all();
            let most = all.iter().copied().max().unwrap_or(0);
            let winner = all.iter().position(|votes| *votes == most).unwrap_or(0);
            match winner {
                UNKNOWN => counts.unknown += 1,
                NOT_A_FACE => counts.not_a_face += 1,
                _ if most == 0 => counts.no_votes += 1,
                emotion => {
                    let is_tie = all.iter().filter(|votes| **votes == most).count() > 1;
                    *(if is_tie { &mut counts.ties } else { &mut counts.single_winner }) += 1;
                    let [emotions @ .., _, _] = all;
                    of_row[self.rows()[i] as usize] = RowVotes { emotions, is_tie };
                    kept.push(i);
                    labels.push(emotion as u32);
                }
            }
        }
        Ok((self.pick(kept).voted(labels, of_row), counts))
    }

    /// The rows where one emotion has more votes than anything else, labelled with it: the rows of
    /// [`with_ferplus_votes`](Self::with_ferplus_votes) without ties, with one-hot targets.
    ///
    /// # Errors
    /// As [`with_ferplus_votes`](Self::with_ferplus_votes).
    pub fn with_ferplus_majority(&self, ferplus: &FerPlus) -> Result<(Self, FerPlusVoteCounts)> {
        let (data, counts) = self.with_ferplus_votes(ferplus)?;
        Ok((data.without_ties().without_votes(), counts))
    }

    /// The rows whose votes have a single winner; all rows of data without votes.
    pub fn without_ties(&self) -> Self {
        self.pick((0..self.len()).filter(|&i| !self.is_tie(i)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_targets_have_names() {
        assert_eq!("votes".parse::<FerPlusTargets>().unwrap(), FerPlusTargets::default());
        assert_eq!("majority".parse::<FerPlusTargets>().unwrap(), FerPlusTargets::Majority);
        let error = "soft".parse::<FerPlusTargets>().unwrap_err().to_string();
        assert_eq!(error, "ferplus_targets is `soft`; allowed: votes, majority");
        assert_eq!(serde_json::to_string(&FerPlusTargets::Majority).unwrap(), r#""majority""#);
    }

    #[test]
    fn counts_are_said_in_one_line() {
        let counts = FerPlusVoteCounts {
            single_winner: 5,
            ties: 4,
            unknown: 3,
            not_a_face: 2,
            no_votes: 1,
            outliers: 9,
        };
        assert_eq!(
            counts.to_string(),
            "5 rows with a single winner, 4 ties; dropped: 3 unknown, 2 not a face, 1 without votes; 9 single votes \
             set to 0"
        );
    }
}
