//! Counts what a model should not be trusted with: constant images, duplicates, contradictions, leakage.

use serde::{Deserialize, Serialize};

use crate::{ClassCount, Dataset, Shape, Source, Split, Subsets, Usage};

/// What is in the data. Written as JSON it has these keys.
///
/// ```
/// use fer_data::{Dataset, Split};
/// let data = Dataset::drawn(200, 42);
/// let mut audit = data.audit();
/// assert_eq!((audit.distinct_images, audit.redundant_rows), (200, 0));
/// audit.split_leakage = Some(data.split(Split::stratified(0.1))?.leakage());
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Where the data came from.
    pub source: Source,
    /// Rows counted: those in view.
    pub rows: usize,
    /// The shape of the images.
    pub shape: Shape,
    /// The rows of each class.
    pub classes: Vec<ClassCount>,
    /// The rows of each usage; empty for data without usages.
    pub usages: Vec<UsageAudit>,
    /// Rows whose image has one value in every pixel.
    pub constant_images: usize,
    /// Images that differ from each other.
    pub distinct_images: usize,
    /// Rows beyond the first of their image: `rows` − `distinct_images`.
    pub redundant_rows: usize,
    /// Distinct images that occur with more than one label.
    pub conflicting_groups: usize,
    /// Leakage of the official split, Training to train, PublicTest to validate, PrivateTest to test; none for
    /// data without these usages.
    pub usage_leakage: Option<Leakage>,
    /// Leakage of the split in use, which [`Subsets::leakage`] counts; none until it is put here.
    pub split_leakage: Option<Leakage>,
}

/// What one usage holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageAudit {
    /// The usage.
    pub usage: Usage,
    /// Its rows.
    pub rows: usize,
    /// Its rows of each class.
    pub classes: Vec<ClassCount>,
    /// Its rows whose image has one value in every pixel.
    pub constant_images: usize,
}

/// Evaluation rows whose image, pixel for pixel, is in the training rows too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leakage {
    /// Training rows.
    pub train: usize,
    /// Validation rows.
    pub valid: usize,
    /// Test rows.
    pub test: usize,
    /// Validation rows with a copy in training.
    pub valid_in_train: usize,
    /// Test rows with a copy in training.
    pub test_in_train: usize,
    /// Test rows with a copy in training or validation.
    pub test_in_train_or_valid: usize,
}

impl Dataset {
    /// Counts constant images, duplicates, contradictions and leakage in the rows in view.
    pub fn audit(&self) -> Audit {
        let usages = Usage::ALL.into_iter().filter_map(|usage| {
            let rows = self.select_usage(usage).ok()?;
            Some(UsageAudit {
                usage,
                rows: rows.len(),
                classes: rows.class_counts(),
                constant_images: rows.constant_images(),
            })
        });
        let first = self.first_copies();
        let distinct_images = first.iter().enumerate().filter(|(i, first)| i == *first).count();
        let mut conflicting: Vec<usize> = first
            .iter()
            .enumerate()
            .filter(|(i, first)| self.label(*i) != self.label(**first))
            .map(|(_, first)| *first)
            .collect();
        conflicting.sort_unstable();
        conflicting.dedup();
        Audit {
            source: self.source().clone(),
            rows: self.len(),
            shape: self.shape(),
            classes: self.class_counts(),
            usages: usages.collect(),
            constant_images: self.constant_images(),
            distinct_images,
            redundant_rows: self.len() - distinct_images,
            conflicting_groups: conflicting.len(),
            usage_leakage: self.split(Split::usage()).ok().map(|subsets| subsets.leakage()),
            split_leakage: None,
        }
    }

    fn constant_images(&self) -> usize {
        (0..self.len()).filter(|&i| self.is_constant(i)).count()
    }
}

impl Subsets {
    /// Counts the evaluation rows that are in training too.
    pub fn leakage(&self) -> Leakage {
        let test = |others: &[&Dataset]| self.test.as_ref().map_or(0, |test| test.copies_in(others));
        Leakage {
            train: self.train.len(),
            valid: self.valid.len(),
            test: self.test.as_ref().map_or(0, Dataset::len),
            valid_in_train: self.valid.copies_in(&[&self.train]),
            test_in_train: test(&[&self.train]),
            test_in_train_or_valid: test(&[&self.train, &self.valid]),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::Duplicates;

    /// Images of 1×1, so that equal pixels are duplicates. Every image is constant.
    fn data() -> Dataset {
        use Usage::{PrivateTest, PublicTest, Training};
        let pixels = vec![1, 2, 1, 3, 2, 4, 4, 1];
        let labels = vec![3, 4, 6, 3, 4, 3, 3, 3];
        let usages =
            vec![Training, Training, Training, Training, PublicTest, PublicTest, PrivateTest, PrivateTest];
        Dataset::new(Array3::from_shape_vec((8, 1, 1), pixels).unwrap(), Some(labels), Some(usages)).unwrap()
    }

    #[test]
    fn duplicates_contradictions_and_leaks_are_counted() {
        let audit = data().audit();
        assert_eq!((audit.distinct_images, audit.redundant_rows), (4, 4));
        assert_eq!(audit.conflicting_groups, 1);
        assert_eq!(audit.constant_images, 8);
        let leakage = audit.usage_leakage.unwrap();
        assert_eq!((leakage.train, leakage.valid, leakage.test), (4, 2, 2));
        assert_eq!(leakage.valid_in_train, 1);
        assert_eq!((leakage.test_in_train, leakage.test_in_train_or_valid), (1, 2));
    }

    #[test]
    fn each_policy_drops_what_it_says() {
        let rows = |policy| {
            let subsets = data().split(Split::usage().duplicates(policy));
            subsets.map(|subsets| (subsets.train.rows().to_vec(), subsets.valid.rows().to_vec()))
        };
        assert_eq!(rows(Duplicates::Keep).unwrap(), (vec![0, 1, 2, 3], vec![4, 5]));
        assert_eq!(rows(Duplicates::Drop).unwrap(), (vec![0, 1, 3], vec![5]));
        assert_eq!(rows(Duplicates::DropLeaked).unwrap(), (vec![3], vec![4, 5]));
    }

    #[test]
    fn an_audit_is_read_as_it_was_written() {
        let audit = data().audit();
        let json = serde_json::to_string(&audit).unwrap();
        assert_eq!(serde_json::from_str::<Audit>(&json).unwrap(), audit);
    }
}
