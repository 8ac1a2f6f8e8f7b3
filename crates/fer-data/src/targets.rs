//! What a network should say of each image: a distribution over the classes.

use ndarray::Array2;

use crate::Dataset;

impl Dataset {
    /// What a network should say of each image: (rows, classes), each row a distribution that sums to 1. It is
    /// one-hot at the label, or the shares of the votes after [`with_ferplus_votes`](Self::with_ferplus_votes);
    /// (rows, 0) for data without labels.
    ///
    /// ```
    /// let images = ndarray::Array3::zeros((2, 48, 48));
    /// let data = fer_data::Dataset::new(images, Some(vec![6, 3]), None)?;
    /// assert_eq!(data.targets(), ndarray::arr2(&[[0.0, 1.0], [1.0, 0.0]]));
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    pub fn targets(&self) -> Array2<f32> {
        self.targets_at(&Vec::from_iter(0..self.len()))
    }

    /// The targets at these positions, which must exist: (positions, classes).
    pub(crate) fn targets_at(&self, positions: &[usize]) -> Array2<f32> {
        let classes = self.encoder().labels();
        let mut targets = Array2::zeros((positions.len(), classes.len()));
        for (mut target, &i) in targets.rows_mut().into_iter().zip(positions) {
            let Some(of_row) = &self.votes else {
                if let Some(class) = self.label(i).and_then(|label| self.encoder().encode(label).ok()) {
                    target[class as usize] = 1.0;
                }
                continue;
            };
            let votes = of_row[self.rows()[i] as usize].emotions;
            // Over 0 where there are classes: the label is one of them, and no emotion has more votes.
            let total: u32 = classes.iter().map(|&label| u32::from(votes[label as usize])).sum();
            for (share, &label) in target.iter_mut().zip(classes) {
                *share = f32::from(votes[label as usize]) / total as f32;
            }
        }
        targets
    }

    /// Whether the targets are shares of votes, not one-hot.
    pub fn has_votes(&self) -> bool {
        self.votes.is_some()
    }

    /// Whether several have the most votes at a position; never without votes or without such a position.
    pub fn is_tie(&self, i: usize) -> bool {
        let row = self.rows().get(i).map(|row| *row as usize);
        self.votes.as_ref().zip(row).is_some_and(|(votes, row)| votes[row].is_tie)
    }
}
