//! Evaluates predictions in a CSV file, of whatever made them.

use std::collections::BTreeSet;
use std::path::Path;

use fer_metrics::ConfusionMatrix;

use crate::command::results;
use crate::run::RunFolder;
use crate::{Error, Result};

/// The report of the file as text; with a folder it is written there, with its figure.
pub(super) fn evaluate(file: &Path, folder: Option<&RunFolder>) -> Result<String> {
    let (truth, predicted) = read(file)?;
    let mut names: Vec<String> = truth.iter().chain(&predicted).cloned().collect();
    names.sort();
    names.dedup();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).unwrap_or_default().total_cmp(&number(b).unwrap_or_default()));
    }
    let warning = match truth.iter().any(|label| predicted.contains(label)) {
        true => String::new(),
        false => format!(
            "The two columns share no value: label has {}, predicted has {}. Are they named alike?\n\n",
            some_of(&truth),
            some_of(&predicted)
        ),
    };
    let class = |name: &String| names.iter().position(|known| known == name).unwrap_or_default();
    let truth: Vec<usize> = truth.iter().map(class).collect();
    let predicted: Vec<usize> = predicted.iter().map(class).collect();
    let matrix = ConfusionMatrix::new(&truth, &predicted, names.len())?;
    // The report lists the classes that occur.
    let listed: Vec<String> =
        matrix.report().classes.iter().map(|class| names[class.class].clone()).collect();
    let text = format!(
        "{warning}{}\n{}\naccuracy {:.4} ({} of {} wrong), majority-class baseline {:.4}\n",
        matrix.report().named(&listed)?,
        matrix.table(&names)?,
        matrix.accuracy(),
        matrix.wrong(),
        matrix.total(),
        matrix.majority_baseline(),
    );
    if let Some(folder) = folder {
        results::write(folder, &text, &matrix, &names)?;
    }
    Ok(text)
}

/// The most labels that a column may have: more are no labels.
const MAX_LABELS: usize = 500;

/// The value of a label that is a number.
fn number(label: &str) -> Option<f64> {
    label.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The first labels that occur, as a message shows them.
fn some_of(labels: &[String]) -> String {
    let all: BTreeSet<&String> = labels.iter().collect();
    let shown: Vec<String> = all.iter().take(6).map(|label| label.escape_debug().to_string()).collect();
    shown.join(", ") + if all.len() > shown.len() { ", …" } else { "" }
}

/// The columns `label` and `predicted`. Where all labels are numbers, equal ones are written alike: 1 and 1.0 are one label.
fn read(path: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let wrong = |reason: String| Error::Format { path: path.to_owned(), reason };
    let of_csv = |e: csv::Error| wrong(e.to_string());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(of_csv)?;
    let header = reader.headers().map_err(of_csv)?.clone();
    let column = |name: &str| {
        let found: Vec<&str> = header.iter().collect();
        let at = header.iter().position(|h| h == name);
        at.ok_or_else(|| {
            wrong(format!("line 1: no column '{name}', found {}", found.join(", ").escape_debug()))
        })
    };
    let (label, predicted) = (column("label")?, column("predicted")?);
    let (mut truths, mut predictions) = (Vec::new(), Vec::new());
    let mut different = [BTreeSet::new(), BTreeSet::new()];
    for record in reader.records() {
        let record = record.map_err(of_csv)?;
        let columns = [(label, &mut truths), (predicted, &mut predictions)];
        for ((column, values), different) in columns.into_iter().zip(&mut different) {
            let line = record.position().map_or(0, |position| position.line());
            let Some(value) = record.get(column).filter(|value| !value.is_empty()) else {
                return Err(wrong(format!("line {line}: no value for '{}'", &header[column])));
            };
            if !different.contains(value) {
                different.insert(value.to_owned());
            }
            if different.len() > MAX_LABELS {
                return Err(wrong(format!(
                    "line {line}: '{}' has more than {MAX_LABELS} different values, such as {}; that is no column of labels",
                    &header[column],
                    value.escape_debug(),
                )));
            }
            values.push(value.to_owned());
        }
    }
    if truths.is_empty() {
        return Err(wrong("a header without rows".into()));
    }
    if different.iter().flatten().all(|label| number(label).is_some()) {
        let alike = |label: &mut String| {
            *label = number(label).map_or_else(String::new, |value| (value + 0.0).to_string())
        };
        truths.iter_mut().chain(&mut predictions).for_each(alike);
    }
    Ok((truths, predictions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(csv: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.csv");
        std::fs::write(&file, csv).unwrap();
        evaluate(&file, None).map_err(|e| e.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn numbers_that_are_equal_are_one_label() {
        let text = evaluated("label,predicted\n1,1.0\n10,10.0\n2,1e1\n-0,0\n").unwrap();
        assert!(text.contains("accuracy 0.7500 (1 of 4 wrong)"), "{text}");
        // In the order of the numbers.
        let columns: Vec<&str> =
            text.lines().find(|line| line.contains("true")).unwrap().split_whitespace().collect();
        assert_eq!(columns, ["true", "0", "1", "2", "10"]);
    }

    #[test]
    fn columns_that_share_no_value_are_pointed_out() {
        let text = evaluated("label,predicted\n0,happy\n1,sad\n").unwrap();
        let expected = "The two columns share no value: label has 0, 1, predicted has happy, sad. Are they named alike?\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(!evaluated("label,predicted\nsad,happy\nhappy,happy\n").unwrap().contains("share no value"));
    }

    #[test]
    fn a_column_of_probabilities_is_refused_early() {
        let rows: String = (0..100_000).map(|i| format!("3,0.{i:06}1\n")).collect();
        let error = evaluated(&format!("label,predicted\n{rows}")).unwrap_err();
        assert_eq!(
            error,
            "p.csv: line 502: 'predicted' has more than 500 different values, such as 0.0005001; that is no column of labels"
        );
    }
}
