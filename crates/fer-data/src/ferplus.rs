//! FER+: ten people's votes on each image of FER2013.
//!
//! Source: Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition
//! with crowd-sourced label distribution", ICMI 2016; file `fer2013new.csv`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Dataset, EMOTIONS, Error, Problem, Result, Usage, Vocabulary,
    csv::usage,
    error::shorten,
    lines::{Fields, Lines},
};

/// The vote columns, ours first, in the order of [`EMOTIONS`].
const COLUMNS: [&str; 10] =
    ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt", "unknown", "NF"];

/// The votes on one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// For each of [`EMOTIONS`].
    pub emotions: [u8; EMOTIONS.len()],
    /// For contempt, which FER2013 does not have.
    pub contempt: u8,
    /// For none of the emotions.
    pub unknown: u8,
    /// For 'not a face'.
    pub not_a_face: u8,
}

/// What most votes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Majority {
    /// An emotion: its code, 0 to 6.
    Emotion(u32),
    /// Contempt.
    Contempt,
    /// None of the emotions.
    Unknown,
    /// Not a face.
    NotAFace,
    /// Two or more have the most votes.
    Tie,
}

impl Votes {
    /// What has more votes than anything else.
    ///
    /// ```
    /// use fer_data::{Majority, Votes};
    /// let votes = Votes { emotions: [0, 0, 0, 6, 0, 1, 3], ..Votes::default() };
    /// assert_eq!(votes.majority(), Majority::Emotion(3));
    /// let votes = Votes { emotions: [0, 0, 0, 4, 0, 0, 4], unknown: 2, ..Votes::default() };
    /// assert_eq!(votes.majority(), Majority::Tie);
    /// ```
    pub fn majority(&self) -> Majority {
        let all = self.all();
        let most = all.iter().copied().max().unwrap_or(0);
        let mut winners = (0_u32..).zip(all).filter(|(_, votes)| *votes == most).map(|(column, _)| column);
        match (winners.next(), winners.next()) {
            (Some(7), None) => Majority::Contempt,
            (Some(8), None) => Majority::Unknown,
            (Some(9), None) => Majority::NotAFace,
            (Some(emotion), None) => Majority::Emotion(emotion),
            _ => Majority::Tie,
        }
    }

    /// The share of each of [`EMOTIONS`] among the votes for any of them; none where nobody voted for one.
    ///
    /// ```
    /// let votes = fer_data::Votes { emotions: [0, 0, 0, 6, 0, 0, 2], unknown: 2, ..Default::default() };
    /// assert_eq!(votes.distribution(), Some([0.0, 0.0, 0.0, 0.75, 0.0, 0.0, 0.25]));
    /// ```
    pub fn distribution(&self) -> Option<[f32; EMOTIONS.len()]> {
        let total: u32 = self.emotions.iter().copied().map(u32::from).sum();
        (total > 0).then(|| self.emotions.map(|votes| f32::from(votes) / total as f32))
    }

    /// The votes for anger, …, neutral, contempt, unknown, not a face.
    pub(crate) fn all(&self) -> [u8; COLUMNS.len()] {
        let [a, b, c, d, e, f, g] = self.emotions;
        [a, b, c, d, e, f, g, self.contempt, self.unknown, self.not_a_face]
    }
}

/// The votes of `fer2013new.csv`, one row for each row of FER2013, in its order.
#[derive(Clone, Debug)]
pub struct FerPlus {
    path: PathBuf,
    rows: Vec<(u64, Usage, Votes)>,
}

/// What became of the rows of a [`Dataset`] that votes were joined to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FerPlusCounts {
    /// Rows that kept their label.
    pub confirmed: usize,
    /// Rows that got another one.
    pub relabelled: usize,
    /// Rows dropped: no single winner.
    pub ties: usize,
    /// Rows dropped: not a face.
    pub not_a_face: usize,
    /// Rows dropped: none of the emotions.
    pub unknown: usize,
    /// Rows dropped: contempt.
    pub contempt: usize,
}

impl FerPlus {
    /// Reads and checks every row; plain, gzip or Zstandard.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Line`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut lines = Lines::open(path)?;
        let header = lines.header()?;
        let find = |column| {
            let at = header.iter().position(|name| name.eq_ignore_ascii_case(column));
            at.ok_or_else(|| lines.error(Problem::MissingColumn { column, found: header.clone() }))
        };
        let usage = find("Usage")?;
        let votes = COLUMNS.iter().map(|column| find(column)).collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        while let Some(line) = lines.next_row()? {
            let row = parse(line, header.len(), usage, &votes);
            let (usage, votes) = row.map_err(|problem| lines.error(problem))?;
            rows.push((lines.number(), usage, votes));
        }
        if rows.is_empty() {
            return Err(lines.error(Problem::NoRows));
        }
        Ok(Self { path: path.to_owned(), rows })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none; never for votes that were read.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The votes on a data row, from 0.
    pub fn votes(&self, row: u32) -> Option<&Votes> {
        self.rows.get(row as usize).map(|(_, _, votes)| votes)
    }

    /// The votes on each row of `data` that is in view, in order.
    pub(crate) fn of_rows(&self, data: &Dataset) -> Result<Vec<&Votes>> {
        let rows = data.source_rows();
        if self.len() != rows {
            return Err(Error::Missing {
                data: self.path.display().to_string(),
                missing: format!("{} rows of votes for the {rows} of {}", self.len(), data.source().path),
            });
        }
        let of_row = |(i, &row): (usize, &u32)| {
            let (line, usage, votes) = &self.rows[row as usize];
            // The usages show that both are in the same order: images in folders are not.
            let expected = data.usage(i).ok_or_else(|| data.missing("no usages to check the votes by"))?;
            if expected != *usage {
                let allowed = format!("{expected}, as row {row} of the images");
                let problem = Problem::Value { column: "Usage", found: usage.to_string(), allowed };
                return Err(Error::Line { path: self.path.clone(), line: *line, problem });
            }
            Ok(votes)
        };
        data.rows().iter().enumerate().map(of_row).collect()
    }
}

impl Dataset {
    /// The rows whose majority of votes is for one of [`EMOTIONS`], labelled with it, and what became of all.
    /// Of the eight emotions of FER+ the other methods make targets: [`Dataset::with_ferplus_votes`] and
    /// [`Dataset::with_ferplus_majority`].
    ///
    /// Votes are joined by row. Join before [`Dataset::select`], which then chooses by the new labels.
    ///
    /// # Errors
    /// [`Error::Missing`] when there are not as many votes as rows in the source, or the source has no usages;
    /// [`Error::Line`] at a row of another usage.
    pub fn with_ferplus(&self, ferplus: &FerPlus) -> Result<(Self, FerPlusCounts)> {
        let (mut kept, mut labels) = (Vec::new(), Vec::new());
        let mut counts = FerPlusCounts::default();
        for (i, votes) in ferplus.of_rows(self)?.into_iter().enumerate() {
            match votes.majority() {
                Majority::Emotion(label) => {
                    let same = self.label(i) == Some(label);
                    *(if same { &mut counts.confirmed } else { &mut counts.relabelled }) += 1;
                    kept.push(i);
                    labels.push(label);
                }
                Majority::Contempt => counts.contempt += 1,
                Majority::Unknown => counts.unknown += 1,
                Majority::NotAFace => counts.not_a_face += 1,
                Majority::Tie => counts.ties += 1,
            }
        }
        Ok((self.pick(kept).relabelled(labels, &Vocabulary::fer2013()), counts))
    }
}

fn parse(line: &str, fields: usize, usage_at: usize, votes_at: &[usize]) -> Result<(Usage, Votes), Problem> {
    let row = Fields::of(line).collect::<Result<Vec<_>, _>>()?;
    if row.len() != fields {
        return Err(Problem::Fields { found: row.len(), expected: fields });
    }
    let usage = usage(row[usage_at].trim())?;
    let mut all = [0; COLUMNS.len()];
    for ((votes, column), &at) in all.iter_mut().zip(COLUMNS).zip(votes_at) {
        let found = row[at].trim();
        *votes = found.parse().map_err(|_| Problem::Value {
            column,
            found: shorten(found),
            allowed: "a number of votes, 0 to 255".to_owned(),
        })?;
    }
    let [a, b, c, d, e, f, g, contempt, unknown, not_a_face] = all;
    Ok((usage, Votes { emotions: [a, b, c, d, e, f, g], contempt, unknown, not_a_face }))
}
