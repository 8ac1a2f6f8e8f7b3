//! The votes of FER+ as a dataset keeps them.

use crate::FERPLUS_EMOTIONS;

/// What a [`Dataset`](crate::Dataset) keeps of the votes on one row of its source.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowVotes {
    /// For each of [`FERPLUS_EMOTIONS`], without outliers.
    pub(crate) emotions: [u8; FERPLUS_EMOTIONS.len()],
    /// Whether two or more, unknown and 'not a face' included, have the most votes.
    pub(crate) is_tie: bool,
}
