//! Divides data into training and evaluation rows.
//!
//! The stratified split is scikit-learn's `train_test_split(shuffle=True, stratify=…)`, row for row.
//! Source: scikit-learn, `model_selection/_split.py` and `utils/extmath.py`.

use std::str::FromStr;

use fer_rand::RandomState;
use serde::{Deserialize, Serialize};

use crate::{Dataset, Duplicates, Error, Result, Subsets, Usage};

/// How to divide data; `Default` is the notebook's way.
///
/// ```
/// use fer_data::{Dataset, Split};
/// let data = Dataset::drawn(200, 42);
/// let subsets = data.split(Split::stratified(0.1).seed(42))?;
/// assert_eq!((subsets.train.len(), subsets.valid.len()), (180, 20));
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    #[serde(flatten)]
    method: Method,
    #[serde(default)]
    duplicates: Duplicates,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
enum Method {
    Stratified { test_size: f64, seed: u32, stratify: Stratify },
    Usage,
}

/// What scikit-learn is given to stratify on. The class order, and so the rows drawn, depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stratify {
    /// The one-hot matrix, as the notebook: its rows are compared as text, which reverses the class order.
    #[default]
    OneHot,
    /// The integer labels.
    Label,
}

impl Split {
    /// A share of each class to validate on, over 0 and under 1, drawn at random; seed 42 and
    /// [`Stratify::OneHot`] unless set.
    pub fn stratified(test_size: f64) -> Self {
        let method = Method::Stratified { test_size, seed: 42, stratify: Stratify::OneHot };
        Self { method, duplicates: Duplicates::Keep }
    }

    /// The official split: trains on Training, validates on PublicTest, tests on PrivateTest.
    pub fn usage() -> Self {
        Self { method: Method::Usage, duplicates: Duplicates::Keep }
    }

    /// What is done with images that occur more than once.
    pub fn duplicates_of(&self) -> Duplicates {
        self.duplicates
    }

    /// Sets scikit-learn's `random_state`; nothing is drawn for a split by usage.
    pub fn seed(mut self, value: u32) -> Self {
        if let Method::Stratified { seed, .. } = &mut self.method {
            *seed = value;
        }
        self
    }

    /// Sets what is stratified on; of no effect on a split by usage.
    pub fn stratify(mut self, value: Stratify) -> Self {
        if let Method::Stratified { stratify, .. } = &mut self.method {
            *stratify = value;
        }
        self
    }

    /// Sets what is done with images that occur more than once.
    pub fn duplicates(self, duplicates: Duplicates) -> Self {
        Self { duplicates, ..self }
    }
}

impl Default for Split {
    fn default() -> Self {
        Self::stratified(0.1)
    }
}

impl FromStr for Stratify {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "one-hot" => Ok(Self::OneHot),
            "label" => Ok(Self::Label),
            _ => Err(Error::Invalid {
                name: "stratify",
                found: format!("`{name}`"),
                allowed: "one-hot, label".to_owned(),
            }),
        }
    }
}

impl Dataset {
    /// Divides the rows in view.
    ///
    /// # Errors
    /// [`Error::Missing`] for data without labels or, for a split by usage, without rows to train or validate
    /// on; [`Error::Invalid`] for a test size that is not between 0 and 1; [`Error::TooFew`] for a class of one
    /// row or fewer, and for fewer rows to train or validate on than there are classes.
    pub fn split(&self, split: Split) -> Result<Subsets> {
        let data = match split.duplicates {
            Duplicates::Drop => self.drop_duplicates(),
            _ => self.clone(),
        };
        let subsets = match split.method {
            Method::Usage => Subsets {
                train: data.select_usage(Usage::Training)?,
                valid: data.select_usage(Usage::PublicTest)?,
                test: data.select_usage(Usage::PrivateTest).ok(),
            },
            Method::Stratified { test_size, seed, stratify } => {
                let (train, valid) = data.stratified(test_size, seed, stratify)?;
                Subsets { train: data.pick(train), valid: data.pick(valid), test: None }
            }
        };
        Ok(match split.duplicates {
            Duplicates::DropLeaked => subsets.drop_leaked(),
            _ => subsets,
        })
    }

    /// The positions to train on and to validate on, in the order of the split.
    fn stratified(&self, test_size: f64, seed: u32, stratify: Stratify) -> Result<(Vec<usize>, Vec<usize>)> {
        if !(test_size > 0.0 && test_size < 1.0) {
            let allowed = "over 0 and under 1".to_owned();
            return Err(Error::Invalid { name: "test_size", found: test_size.to_string(), allowed });
        }
        if self.labels().is_none() {
            return Err(self.missing("no labels to stratify on"));
        }
        let mut labels = self.encoder().labels().to_vec();
        if stratify == Stratify::OneHot {
            labels.reverse();
        }
        let classes: Vec<Vec<usize>> = labels.iter().map(|&label| self.positions_of(label)).collect();
        let valid_rows = (test_size * self.len() as f64).ceil() as usize;
        let train_rows = self.len() - valid_rows;
        let few = |what: String, rows, needed| {
            if rows < needed { Err(Error::TooFew { what, rows, needed }) } else { Ok(()) }
        };
        for (&label, positions) in labels.iter().zip(&classes) {
            let name = self.encoder().name(label).unwrap_or_default();
            few(format!("class {label} ({name})"), positions.len(), 2)?;
        }
        few("the training side".to_owned(), train_rows, classes.len())?;
        few("the validation side".to_owned(), valid_rows, classes.len())?;

        let mut rng = RandomState::new(seed);
        let counts: Vec<usize> = classes.iter().map(Vec::len).collect();
        let train_counts = approximate_mode(&counts, train_rows, &mut rng);
        let left: Vec<usize> = counts.iter().zip(&train_counts).map(|(all, train)| all - train).collect();
        let valid_counts = approximate_mode(&left, valid_rows, &mut rng);
        let (mut train, mut valid) = (Vec::with_capacity(train_rows), Vec::with_capacity(valid_rows));
        for ((positions, n_train), n_valid) in classes.iter().zip(train_counts).zip(valid_counts) {
            let drawn = rng.permutation(positions.len());
            let mut drawn = drawn.into_iter().map(|i| positions[i]);
            train.extend(drawn.by_ref().take(n_train));
            valid.extend(drawn.take(n_valid));
        }
        let mut shuffled =
            |rows: Vec<usize>| rng.permutation(rows.len()).into_iter().map(|i| rows[i]).collect();
        Ok((shuffled(train), shuffled(valid)))
    }
}

/// The likeliest numbers of each class among `n` drawn without replacement; ties are broken by `rng`.
///
/// scikit-learn's `_approximate_mode`, to the rounding of its divisions.
fn approximate_mode(counts: &[usize], n: usize, rng: &mut RandomState) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let expected: Vec<f64> = counts.iter().map(|&count| count as f64 / total as f64 * n as f64).collect();
    let mut numbers: Vec<usize> = expected.iter().map(|expected| expected.floor() as usize).collect();
    let remainders: Vec<f64> = expected.iter().map(|expected| expected - expected.floor()).collect();
    let mut values = remainders.clone();
    values.sort_by(|a, b| b.total_cmp(a));
    values.dedup();
    let mut needed = n.saturating_sub(numbers.iter().sum());
    for value in values {
        if needed == 0 {
            break;
        }
        let tied: Vec<usize> = (0..counts.len()).filter(|&class| remainders[class] == value).collect();
        let more = tied.len().min(needed);
        rng.permutation(tied.len()).into_iter().take(more).for_each(|i| numbers[tied[i]] += 1);
        needed -= more;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;

    fn data(labels: Vec<u32>) -> Dataset {
        Dataset::new(Array3::zeros((labels.len(), 1, 1)), Some(labels), None).unwrap()
    }

    #[test]
    fn ties_of_the_approximate_mode_are_broken_by_the_seed() {
        assert_eq!(approximate_mode(&[2, 2, 2, 1], 2, &mut RandomState::new(0)), [0, 1, 1, 0]);
        assert_eq!(approximate_mode(&[2, 2, 2, 1], 2, &mut RandomState::new(42)), [1, 1, 0, 0]);
    }

    #[test]
    fn thirty_rows_are_split_as_the_contract_gives() {
        let data = data((0..30).map(|i| ((i * i + i / 4) % 3) as u32).collect());
        let one_hot = data.split(Split::stratified(0.1).seed(42)).unwrap();
        assert_eq!(one_hot.valid.rows(), [20, 6, 19]);
        let label = data.split(Split::stratified(0.1).seed(42).stratify(Stratify::Label)).unwrap();
        assert_eq!(label.valid.rows(), [15, 26, 5]);
    }

    #[test]
    fn what_cannot_be_stratified_says_why() {
        let error = |labels, size| data(labels).split(Split::stratified(size)).unwrap_err().to_string();
        assert_eq!(error(vec![3, 3, 3, 4], 0.5), "class 4 (sad) has 1 rows; stratifying needs at least 2");
        assert_eq!(
            error(vec![3, 3, 4, 4, 6, 6], 0.1),
            "the validation side has 1 rows; stratifying needs at least 3"
        );
        assert_eq!(
            error(vec![3, 3, 4, 4, 6, 6], 0.9),
            "the training side has 0 rows; stratifying needs at least 3"
        );
        for size in [0.0, 1.0, -0.1, f64::NAN] {
            assert_eq!(error(vec![3; 4], size), format!("test_size is {size}; allowed: over 0 and under 1"));
        }
        let unlabelled = Dataset::new(Array3::zeros((4, 1, 1)), None, None).unwrap();
        assert_eq!(
            unlabelled.split(Split::default()).unwrap_err().to_string(),
            "memory: no labels to stratify on"
        );
        assert_eq!(
            data(vec![3; 4]).split(Split::usage()).unwrap_err().to_string(),
            "memory: no row of usage Training"
        );
    }

    #[test]
    fn a_split_is_written_with_its_settings() {
        let split = Split::stratified(0.2).seed(7).duplicates(Duplicates::DropLeaked);
        let json = r#"{"method":"stratified","test_size":0.2,"seed":7,"stratify":"one-hot","duplicates":"drop-leaked"}"#;
        assert_eq!(serde_json::to_string(&split).unwrap(), json);
        assert_eq!(serde_json::from_str::<Split>(json).unwrap(), split);
        assert_eq!(serde_json::from_str::<Split>(r#"{"method":"usage"}"#).unwrap(), Split::usage());
    }

    proptest! {
        #[test]
        fn every_row_is_on_one_side_and_classes_keep_their_share(
            mut labels in prop::collection::vec(0_u32..4, 40..200),
            test_size in 0.15..0.5_f64,
            seed: u32,
        ) {
            labels.extend([0, 0, 1, 1, 2, 2, 3, 3]);
            let data = data(labels);
            let subsets = data.split(Split::stratified(test_size).seed(seed)).unwrap();
            let mut rows = [subsets.train.rows(), subsets.valid.rows()].concat();
            rows.sort_unstable();
            prop_assert_eq!(&rows[..], data.rows());
            for (all, valid) in data.class_counts().iter().zip(subsets.valid.class_counts()) {
                let share = all.rows as f64 * subsets.valid.len() as f64 / data.len() as f64;
                prop_assert!((valid.rows as f64 - share).abs() < 1.0 + 1e-9);
            }
        }
    }
}
