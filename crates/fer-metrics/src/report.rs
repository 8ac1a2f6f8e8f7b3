//! Precision, recall and F1, and scikit-learn's `classification_report`.

use std::fmt;

use ndarray::Axis;
use serde::Serialize;

use crate::{ConfusionMatrix, Error, Result};

/// Precision, recall and F1 of a class or an average, each in 0..=1; 0 where they would be 0/0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Of the samples that were taken for the class, the part that is of it.
    pub precision: f64,
    /// Of the class' samples, the part that was taken for it.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
    /// The number of the class' samples.
    pub support: u64,
}

/// The scores of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The class's number.
    pub class: usize,
    /// The class's name; its number unless [`Report::named`] gave another.
    pub name: String,
    /// The class's scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// The scores of each class and their averages. Displayed, it is the text of scikit-learn's
/// `classification_report`, to the letter; `{:.4}` prints four digits in place of two.
///
/// ```
/// # fn main() -> fer_metrics::Result<()> {
/// let matrix = fer_metrics::ConfusionMatrix::new(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 2)?;
/// let report = matrix.report().named(&["happy", "sad"])?;
/// assert_eq!(report.macro_average.recall, (1.0 / 2.0 + 2.0 / 3.0) / 2.0);
/// assert_eq!(
///     report.to_string().lines().nth(3),
///     Some("         sad       0.67      0.67      0.67         3"),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scores of each class reported.
    pub classes: Vec<ClassScores>,
    /// The scores of all decisions counted together.
    pub micro_average: Scores,
    /// The plain mean over the classes.
    pub macro_average: Scores,
    /// The mean over the classes, weighted by their support.
    pub weighted_average: Scores,
    /// Whether every class that occurs is reported: then precision, recall and F1 of `micro_average` are the
    /// accuracy.
    pub micro_is_accuracy: bool,
    /// Without a single right prediction scikit-learn counts in floating point and prints a support of 2 as
    /// `2.0`.
    #[serde(skip)]
    nothing_right: bool,
}

/// What a class's scores are made of.
#[derive(Clone, Copy)]
struct Tally {
    hits: u64,
    predicted: u64,
    support: u64,
}

impl Tally {
    fn scores(self) -> Scores {
        let ratio = |part, whole| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        Scores {
            precision: ratio(self.hits, self.predicted),
            recall: ratio(self.hits, self.support),
            f1: ratio(2 * self.hits, self.predicted + self.support),
            support: self.support,
        }
    }
}

impl ConfusionMatrix {
    /// The report of the classes that occur among the true or the predicted labels.
    pub fn report(&self) -> Report {
        let tallies = self.tallies();
        let occur = |&class: &usize| tallies[class].support + tallies[class].predicted > 0;
        let classes: Vec<usize> = (0..self.classes()).filter(occur).collect();
        report(&tallies, &classes)
    }

    /// The report of these classes, in this order: scikit-learn's `labels`. Samples of the other classes still
    /// count where they were taken for one of these.
    pub fn report_of(&self, classes: &[usize]) -> Result<Report> {
        if classes.is_empty() {
            return Err(Error::Empty);
        }
        for (position, &class) in classes.iter().enumerate() {
            if class >= self.classes() {
                return Err(Error::Class { class, reason: "the matrix has no such class" });
            }
            if classes[..position].contains(&class) {
                return Err(Error::Class { class, reason: "it is listed twice" });
            }
        }
        Ok(report(&self.tallies(), classes))
    }

    fn tallies(&self) -> Vec<Tally> {
        let counts = self.counts();
        let sums = counts.sum_axis(Axis(0)).into_iter().zip(counts.sum_axis(Axis(1)));
        sums.zip(counts.diag())
            .map(|((predicted, support), &hits)| Tally { hits, predicted, support })
            .collect()
    }
}

fn report(tallies: &[Tally], classes: &[usize]) -> Report {
    let chosen: Vec<Tally> = classes.iter().map(|&class| tallies[class]).collect();
    warn_of_zero_divisions(classes, &chosen);
    let scores: Vec<Scores> = chosen.iter().map(|tally| tally.scores()).collect();
    let sum = |part: fn(&Tally) -> u64| chosen.iter().map(part).sum::<u64>();
    let support = sum(|tally| tally.support);
    let micro = Tally { hits: sum(|tally| tally.hits), predicted: sum(|tally| tally.predicted), support };
    let supports: Vec<f64> = scores.iter().map(|score| score.support as f64).collect();
    let equal = vec![1.0; scores.len()];
    // Weights that are all zero are ignored, as scikit-learn ignores them.
    let weights = if support == 0 { &equal } else { &supports };
    let others = (0..tallies.len()).filter(|class| !classes.contains(class));
    Report {
        micro_average: micro.scores(),
        macro_average: average(&scores, &equal, support),
        weighted_average: average(&scores, weights, support),
        micro_is_accuracy: others
            .into_iter()
            .all(|other| tallies[other].support + tallies[other].predicted == 0),
        nothing_right: tallies.iter().all(|tally| tally.hits == 0),
        classes: classes
            .iter()
            .zip(scores)
            .map(|(&class, scores)| ClassScores { class, name: class.to_string(), scores })
            .collect(),
    }
}

fn average(scores: &[Scores], weights: &[f64], support: u64) -> Scores {
    let total: f64 = weights.iter().sum();
    let mean = |value: fn(&Scores) -> f64| {
        scores.iter().zip(weights).map(|(score, weight)| value(score) * weight).sum::<f64>() / total
    };
    Scores { precision: mean(|s| s.precision), recall: mean(|s| s.recall), f1: mean(|s| s.f1), support }
}

fn warn_of_zero_divisions(classes: &[usize], tallies: &[Tally]) {
    let zero = |whole: fn(&Tally) -> u64| -> Vec<usize> {
        classes.iter().zip(tallies).filter(|(_, tally)| whole(tally) == 0).map(|(&class, _)| class).collect()
    };
    let (never_predicted, without_samples) = (zero(|tally| tally.predicted), zero(|tally| tally.support));
    if !never_predicted.is_empty() {
        tracing::warn!(classes = ?never_predicted, "never predicted: their precision is set to 0");
    }
    if !without_samples.is_empty() {
        tracing::warn!(classes = ?without_samples, "without true samples: their recall is set to 0");
    }
}

impl Report {
    /// The report with the classes named: the class `c` is `names[c]`.
    pub fn named(mut self, names: &[impl AsRef<str>]) -> Result<Self> {
        for row in &mut self.classes {
            let name = names.get(row.class).ok_or(Error::Name { class: row.class, names: names.len() })?;
            row.name = name.as_ref().to_owned();
        }
        Ok(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let longest = self.classes.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len()).max(digits);
        let count = |support: u64| format!("{support}{}", if self.nothing_right { ".0" } else { "" });
        let row = |f: &mut fmt::Formatter<'_>, name: &str, scores: &Scores| {
            let Scores { precision, recall, f1, support } = *scores;
            let support = count(support);
            writeln!(
                f,
                "{name:>width$}  {precision:>9.digits$} {recall:>9.digits$} {f1:>9.digits$} {support:>9}"
            )
        };
        writeln!(
            f,
            "{:>width$}  {:>9} {:>9} {:>9} {:>9}\n",
            "", "precision", "recall", "f1-score", "support"
        )?;
        for class in &self.classes {
            row(f, &class.name, &class.scores)?;
        }
        writeln!(f)?;
        if self.micro_is_accuracy {
            let Scores { f1, support, .. } = self.micro_average;
            let support = count(support);
            writeln!(f, "{:>width$}  {:>9} {:>9} {f1:>9.digits$} {support:>9}", "accuracy", "", "")?;
        } else {
            row(f, "micro avg", &self.micro_average)?;
        }
        row(f, "macro avg", &self.macro_average)?;
        row(f, "weighted avg", &self.weighted_average)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: [usize; 15] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2];
    const PREDICTED: [usize; 15] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 1];

    #[test]
    fn the_report_of_the_contract_is_printed_to_the_letter() {
        let text = "              precision    recall  f1-score   support

           0       0.80      0.80      0.80         5
           1       0.50      0.50      0.50         4
           2       0.67      0.67      0.67         6

    accuracy                           0.67        15
   macro avg       0.66      0.66      0.66        15
weighted avg       0.67      0.67      0.67        15
";
        assert_eq!(ConfusionMatrix::new(&TRUTH, &PREDICTED, 3).unwrap().report().to_string(), text);
        // Classes that the matrix has room for but that do not occur are not reported.
        assert_eq!(ConfusionMatrix::new(&TRUTH, &PREDICTED, 7).unwrap().report().to_string(), text);
    }

    #[test]
    fn classes_and_names_that_do_not_exist_are_errors() {
        let matrix = ConfusionMatrix::new(&TRUTH, &PREDICTED, 3).unwrap();
        assert!(matches!(matrix.report_of(&[0, 3]), Err(Error::Class { class: 3, .. })));
        assert!(matches!(matrix.report_of(&[1, 0, 1]), Err(Error::Class { class: 1, .. })));
        assert_eq!(matrix.report_of(&[]), Err(Error::Empty));
        assert_eq!(matrix.report().named(&["a", "b"]), Err(Error::Name { class: 2, names: 2 }));
    }

    #[test]
    fn micro_average_is_the_accuracy_when_every_class_is_reported() {
        let matrix = ConfusionMatrix::new(&TRUTH, &PREDICTED, 3).unwrap();
        let report = matrix.report();
        assert!(report.micro_is_accuracy);
        assert_eq!(report.micro_average.precision, matrix.accuracy());
        assert!(!matrix.report_of(&[0, 1]).unwrap().micro_is_accuracy);
    }
}
