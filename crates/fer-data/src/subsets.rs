//! The sides of a split, and the file that records them.

use std::{fmt::Write as _, path::Path};

use crate::{
    Dataset, Error, Problem, Result,
    error::shorten,
    lines::{Fields, Lines},
};

const TRAIN: &str = "train";
const VALID: &str = "valid";
const TEST: &str = "test";

/// The rows to train on, to validate on and, where the split has them, to test on; each in its order.
#[derive(Clone, Debug)]
pub struct Subsets {
    /// To train on.
    pub train: Dataset,
    /// To validate on.
    pub valid: Dataset,
    /// To report on at the end.
    pub test: Option<Dataset>,
}

impl Subsets {
    /// Writes the split as CSV: `row,subset`, the data row from 0 and `train`, `valid` or `test`, in the order
    /// of the split. The file appears whole or not at all; its folder is made when it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut csv = String::from("row,subset\n");
        for (name, data) in
            [(TRAIN, Some(&self.train)), (VALID, Some(&self.valid)), (TEST, self.test.as_ref())]
        {
            for row in data.map_or(&[][..], Dataset::rows) {
                let _ = writeln!(csv, "{row},{name}");
            }
        }
        let path = path.as_ref();
        fer_files::write(path, csv).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote, for the same data: the rows must be in view.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Line`] for a row that is no number, is not in view or comes twice, and for
    /// another subset.
    pub fn read_csv(path: impl AsRef<Path>, data: &Dataset) -> Result<Self> {
        let mut lines = Lines::open(path.as_ref())?;
        let header = lines.header()?;
        let find = |column| {
            let at = header.iter().position(|name| name == column);
            at.ok_or_else(|| lines.error(Problem::MissingColumn { column, found: header.clone() }))
        };
        let (row_at, subset_at) = (find("row")?, find("subset")?);
        // The positions of the rows that are in view and not taken yet.
        let mut free = vec![None; data.source_rows()];
        data.rows().iter().enumerate().for_each(|(i, &row)| free[row as usize] = Some(i));
        let mut taken = vec![false; free.len()];
        let (mut train, mut valid, mut test) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(line) = lines.next_row()? {
            let mut push = || {
                let fields = Fields::of(line).collect::<Result<Vec<_>, _>>()?;
                if fields.len() != header.len() {
                    return Err(Problem::Fields { found: fields.len(), expected: header.len() });
                }
                let (row, subset) = (fields[row_at].trim(), fields[subset_at].trim());
                let side = match subset {
                    TRAIN => &mut train,
                    VALID => &mut valid,
                    TEST => &mut test,
                    _ => return Err(wrong("subset", subset, "train, valid, test".to_owned())),
                };
                let last = free.len().saturating_sub(1);
                let number = row.parse::<usize>().ok().filter(|row| *row <= last);
                let number = number.ok_or_else(|| wrong("row", row, format!("0 to {last}")))?;
                let Some(position) = free[number] else {
                    let classes = data.encoder().names().join(", ");
                    return Err(wrong("row", row, format!("the rows chosen, of the classes {classes}")));
                };
                if taken[number] {
                    return Err(Problem::RepeatedRow { row: number as u32 });
                }
                taken[number] = true;
                side.push(position);
                Ok(())
            };
            let pushed = push();
            pushed.map_err(|problem| lines.error(problem))?;
        }
        if train.is_empty() && valid.is_empty() && test.is_empty() {
            return Err(lines.error(Problem::NoRows));
        }
        let test = (!test.is_empty()).then(|| data.pick(test));
        Ok(Self { train: data.pick(train), valid: data.pick(valid), test })
    }
}

fn wrong(column: &'static str, found: &str, allowed: String) -> Problem {
    Problem::Value { column, found: shorten(found), allowed }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Split;

    #[test]
    fn a_split_is_read_in_the_order_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.csv");
        let data = Dataset::drawn(100, 1).select(&[3, 6]).unwrap();
        let mut subsets = data.split(Split::stratified(0.2)).unwrap();
        subsets.test = Some(subsets.valid.subset(&[3, 1]).unwrap());
        subsets.valid = subsets.valid.subset(&[0, 2]).unwrap();
        subsets.write_csv(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let read = Subsets::read_csv(&path, &data).unwrap();
        assert_eq!(read.train.rows(), subsets.train.rows());
        assert_eq!(read.train.labels(), subsets.train.labels());
        assert_eq!(read.valid.rows(), subsets.valid.rows());
        assert_eq!(read.test.unwrap().rows(), subsets.test.unwrap().rows());
    }

    #[test]
    fn a_wrong_split_file_says_its_line_and_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.csv");
        let data = Dataset::drawn(10, 1);
        let (sad, other) = (data.positions_of(4), data.positions_of(3));
        let data = data.select(&[3, 6]).unwrap();
        let error = |csv: &str| {
            fs::write(&path, csv).unwrap();
            Subsets::read_csv(&path, &data)
                .unwrap_err()
                .to_string()
                .split_once("split.csv: ")
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(error("row\n1\n"), "line 1: no column `subset`; found `row`");
        assert_eq!(
            error("row,subset\n"),
            "line 2: the file ends after its header; expected at least one row"
        );
        assert_eq!(error("row,subset\n10,train\n"), "line 2: row is `10`; allowed: 0 to 9");
        assert_eq!(error("row,subset\n-1,train\n"), "line 2: row is `-1`; allowed: 0 to 9");
        let a = other[0];
        assert_eq!(
            error(&format!("row,subset\r\n{a},train\r\n{a},valid\r\n")),
            format!("line 3: row {a} again; allowed: each row once")
        );
        assert_eq!(
            error(&format!("row,subset\n{a},tain\n")),
            "line 2: subset is `tain`; allowed: train, valid, test"
        );
        assert_eq!(error("row,subset\n1\n"), "line 2: 1 fields; allowed: 2, as in the header");
        if let Some(sad) = sad.first() {
            assert_eq!(
                error(&format!("row,subset\n{sad},train\n")),
                format!("line 2: row is `{sad}`; allowed: the rows chosen, of the classes happy, neutral")
            );
        }
    }
}
