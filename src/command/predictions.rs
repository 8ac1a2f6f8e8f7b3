//! Evaluates predictions in a CSV file, of whatever made them.

use std::path::Path;

use fer_metrics::ConfusionMatrix;

use crate::Error;
use crate::command::results;
use crate::run::RunFolder;

/// The report of the file as text; with a folder it is written there, with its figure.
pub(super) fn evaluate(file: &Path, folder: Option<&RunFolder>) -> Result<String, Error> {
    let (truth, predicted) = read(file)?;
    let mut names: Vec<String> = truth.iter().chain(&predicted).cloned().collect();
    names.sort();
    names.dedup();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    let class = |name: &String| names.iter().position(|known| known == name).unwrap_or_default();
    let truth: Vec<usize> = truth.iter().map(class).collect();
    let predicted: Vec<usize> = predicted.iter().map(class).collect();
    let matrix = ConfusionMatrix::new(&truth, &predicted, names.len())?;
    // The report lists the classes that occur.
    let listed: Vec<String> =
        matrix.report().classes.iter().map(|class| names[class.class].clone()).collect();
    let text = format!(
        "{}\n{}\naccuracy {:.4} ({} of {} wrong), majority-class baseline {:.4}\n",
        matrix.report().named(&listed)?,
        results::table(&matrix, &names),
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

/// The columns `label` and `predicted`.
fn read(path: &Path) -> Result<(Vec<String>, Vec<String>), Error> {
    let wrong = |reason: String| Error::Format { path: path.to_owned(), reason };
    let of_csv = |e: csv::Error| wrong(e.to_string());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(of_csv)?;
    let header = reader.headers().map_err(of_csv)?.clone();
    let column = |name: &str| {
        let found: Vec<&str> = header.iter().collect();
        let at = header.iter().position(|h| h == name);
        at.ok_or_else(|| wrong(format!("line 1: no column '{name}', found {}", found.join(", "))))
    };
    let (label, predicted) = (column("label")?, column("predicted")?);
    let (mut truths, mut predictions) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(of_csv)?;
        for (column, values) in [(label, &mut truths), (predicted, &mut predictions)] {
            match record.get(column).filter(|value| !value.is_empty()) {
                Some(value) => values.push(value.to_owned()),
                None => {
                    let line = record.position().map_or(0, |position| position.line());
                    return Err(wrong(format!("line {line}: no value for '{}'", &header[column])));
                }
            }
        }
    }
    if truths.is_empty() {
        return Err(wrong("a header without rows".into()));
    }
    Ok((truths, predictions))
}
