//! Images not to train on: identical ones, found pixel for pixel, and constant ones; and what to do about them.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, Result, Subsets};

/// What a split does with images that occur more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// Keeps them all, as the notebook does: some evaluation images are also trained on.
    #[default]
    Keep,
    /// Keeps the first of identical images and drops the others, before the data is split.
    Drop,
    /// Drops from training, after the split, every image that evaluation holds too.
    DropLeaked,
}

impl FromStr for Duplicates {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            "drop-leaked" => Ok(Self::DropLeaked),
            _ => Err(Error::Invalid {
                name: "duplicates",
                found: format!("`{name}`"),
                allowed: "keep, drop, drop-leaked".to_owned(),
            }),
        }
    }
}

impl Dataset {
    /// The first of each group of identical images, in order, whatever their labels.
    pub fn drop_duplicates(&self) -> Self {
        self.pick(self.first_copies().into_iter().enumerate().filter(|(i, first)| i == first).map(|(i, _)| i))
    }

    /// The rows whose image does not occur in `other`, pixel for pixel.
    ///
    /// Of training rows against evaluation rows this is what may be trained on; the other way round, what an
    /// evaluation without leakage counts.
    pub fn without_copies_in(&self, other: &Self) -> Self {
        let held = other.distinct();
        self.pick((0..self.len()).filter(|&i| !held.contains(self.pixels(i))))
    }

    /// The rows whose image is more than one grey value or colour, and the number of the others: FER2013 has 12 that show
    /// nothing.
    ///
    /// ```
    /// let mut images = ndarray::Array3::zeros((3, 48, 48));
    /// images[(1, 20, 20)] = 255;
    /// let data = fer_data::Dataset::new(images, Some(vec![3, 6, 4]), None)?;
    /// let (kept, constant) = data.without_constant();
    /// assert_eq!((kept.rows(), constant), (&[1][..], 2));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    pub fn without_constant(&self) -> (Self, usize) {
        let kept = self.pick((0..self.len()).filter(|&i| !self.is_constant(i)));
        let constant = self.len() - kept.len();
        (kept, constant)
    }

    /// Whether all pixels of the image at a position are alike.
    pub(crate) fn is_constant(&self, i: usize) -> bool {
        let plane = self.shape().height * self.shape().width;
        self.pixels(i).chunks(plane).all(|plane| plane.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// The rows whose image occurs in one of `others` too.
    pub(crate) fn copies_in(&self, others: &[&Self]) -> usize {
        let held: Vec<_> = others.iter().map(|other| other.distinct()).collect();
        let held = |i: &usize| held.iter().any(|held| held.contains(self.pixels(*i)));
        (0..self.len()).filter(held).count()
    }

    /// For each position that of the first row with an identical image.
    pub(crate) fn first_copies(&self) -> Vec<usize> {
        let mut first = HashMap::with_capacity(self.len());
        (0..self.len()).map(|i| *first.entry(self.pixels(i)).or_insert(i)).collect()
    }

    fn distinct(&self) -> HashSet<&[u8]> {
        (0..self.len()).map(|i| self.pixels(i)).collect()
    }
}

impl Subsets {
    /// Drops from training what validation or test holds too.
    pub(crate) fn drop_leaked(mut self) -> Self {
        self.train = self.train.without_copies_in(&self.valid);
        if let Some(test) = &self.test {
            self.train = self.train.without_copies_in(test);
        }
        self
    }
}
