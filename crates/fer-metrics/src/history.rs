//! What training logged, epoch by epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The log of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochLog {
    /// The epoch's number, from 1.
    pub epoch: usize,
    /// The sample-weighted mean training loss, measured in training mode.
    pub loss: f64,
    /// The training accuracy in 0..=1, measured in training mode.
    pub accuracy: f64,
    /// The validation loss; `None` when there was no validation.
    pub val_loss: Option<f64>,
    /// The validation accuracy in 0..=1; `None` when there was no validation.
    pub val_accuracy: Option<f64>,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// The seconds that the whole epoch took, validation included.
    pub seconds: f64,
    /// Metrics of one's own by name; those of the validation begin with `val_`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

impl EpochLog {
    /// The names that every log knows, in the order of `history.csv`; [`metrics`](Self::metrics) may add others.
    pub const NAMES: [&str; 6] = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"];

    /// The value logged under this name; `None` when the epoch has no such value.
    pub fn get(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            "accuracy" => Some(self.accuracy),
            "val_loss" => self.val_loss,
            "val_accuracy" => self.val_accuracy,
            "learning_rate" => Some(self.learning_rate),
            "seconds" => Some(self.seconds),
            _ => self.metrics.get(name).copied(),
        }
    }

    /// The names under which this log has a value.
    pub fn names(&self) -> Vec<&str> {
        let fixed = Self::NAMES.into_iter().filter(|name| self.get(name).is_some());
        fixed.chain(self.metrics.keys().map(String::as_str)).collect()
    }
}

/// The logs of a training, first epoch first: Keras' `History`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One log an epoch.
    pub epochs: Vec<EpochLog>,
}

impl History {
    /// The values logged under this name, epoch by epoch; epochs without it are left out.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.epochs.iter().filter_map(|epoch| epoch.get(name)).collect()
    }

    /// The names of all [`EpochLog::metrics`], in alphabetical order.
    ///
    /// ```
    /// use fer_metrics::{EpochLog, History};
    ///
    /// let log = |name: &str| EpochLog { metrics: [(name.into(), 0.5)].into(), ..Default::default() };
    /// let history = History { epochs: vec![log("val_f1"), log("f1")] };
    /// assert_eq!(history.metric_names(), ["f1", "val_f1"]);
    /// ```
    pub fn metric_names(&self) -> Vec<&str> {
        let names: BTreeSet<_> = self.epochs.iter().flat_map(|log| log.metrics.keys()).collect();
        names.into_iter().map(String::as_str).collect()
    }

    /// The text of `history.csv`: the header `epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds`,
    /// the names of metrics of one's own after that, and a line an epoch. Numbers have as many digits as it takes to read them back to the bit; what was not
    /// measured is an empty cell.
    ///
    /// ```
    /// # fn main() -> fer_metrics::Result<()> {
    /// let text = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n\
    ///             1,1.2925,0.4078,,,0.001,14.25\n";
    /// let history = fer_metrics::History::from_csv(text)?;
    /// assert_eq!(history.values("loss"), [1.2925]);
    /// assert_eq!(history.to_csv(), text);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_csv(&self) -> String {
        let names: Vec<&str> = EpochLog::NAMES.into_iter().chain(self.metric_names()).collect();
        let mut text = format!("epoch,{}\n", names.join(","));
        for log in &self.epochs {
            text += &log.epoch.to_string();
            for name in &names {
                text.push(',');
                if let Some(value) = log.get(name) {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{value}");
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_csv`](Self::to_csv) writes. An error names the line (1 is the header) and the column.
    /// Without an epoch, the history is empty.
    pub fn from_csv(text: &str) -> Result<Self> {
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let (_, header) = lines.next().unwrap_or_default();
        let mut names = header.split(',').map(str::trim);
        for column in std::iter::once("epoch").chain(EpochLog::NAMES) {
            let found = names.next().unwrap_or_default();
            if found != column {
                return Err(Error::History { line: 1, column, found: found.into(), expected: "this name" });
            }
        }
        let metrics: Vec<&str> = names.collect();
        let rows = lines.filter(|(_, line)| !line.trim().is_empty());
        let logs = rows.map(|(index, line)| epoch_log(index + 1, line, &metrics));
        Ok(Self { epochs: logs.collect::<Result<_>>()? })
    }
}

fn epoch_log(line: usize, text: &str, metrics: &[&str]) -> Result<EpochLog> {
    let mut cells = text.split(',').map(str::trim);
    let mut cell = |column| (column, cells.next().unwrap_or_default());
    let error = |(column, found): (&'static str, &str), expected| Error::History {
        line,
        column,
        found: found.into(),
        expected,
    };
    let number = |(column, found): (&'static str, &str)| {
        found.parse::<f64>().map_err(|_| error((column, found), "a number"))
    };
    let optional = |(column, found): (&'static str, &str)| match found {
        "" => Ok(None),
        _ => number((column, found)).map(Some),
    };
    let epoch = cell("epoch");
    Ok(EpochLog {
        epoch: epoch.1.parse().map_err(|_| error(epoch, "a whole number"))?,
        loss: number(cell("loss"))?,
        accuracy: number(cell("accuracy"))?,
        val_loss: optional(cell("val_loss"))?,
        val_accuracy: optional(cell("val_accuracy"))?,
        learning_rate: number(cell("learning_rate"))?,
        seconds: number(cell("seconds"))?,
        metrics: {
            let mut own = BTreeMap::new();
            for name in metrics {
                if let Some(value) = optional(("metrics", cells.next().unwrap_or_default()))? {
                    own.insert((*name).to_owned(), value);
                }
            }
            let last = if metrics.is_empty() { "seconds" } else { "metrics" };
            match cells.next() {
                None => own,
                Some(extra) => return Err(error((last, extra), "the end of the line after it")),
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds";

    proptest! {
        #[test]
        fn csv_keeps_every_number_to_the_bit(
            rows in prop::collection::vec(
                (any::<usize>(), prop::num::f64::NORMAL, 0.0..1.0, prop::option::of(0.0..9.0), 1e-30..1.0),
                0..9,
            )
        ) {
            let log = |(epoch, loss, accuracy, validation, learning_rate): (_, _, _, Option<f64>, _)| EpochLog {
                epoch, loss, accuracy, val_loss: validation, val_accuracy: validation, learning_rate,
                seconds: f64::INFINITY,
                metrics: validation.map(|value| ("val_f1".to_owned(), value)).into_iter().collect(),
            };
            let history = History { epochs: rows.into_iter().map(log).collect() };
            prop_assert_eq!(History::from_csv(&history.to_csv()).unwrap(), history);
        }
    }

    #[test]
    fn values_leave_out_what_was_not_measured() {
        let text = format!("{HEADER}\r\n1,NaN,0.5,,,1e-3,2\r\n\r\n2,0.5,0.6,0.7,0.8,0.001,2\r\n");
        let history = History::from_csv(&text).unwrap();
        assert_eq!(history.values("val_loss"), [0.7]);
        assert!(history.epochs[0].loss.is_nan());
    }

    #[test]
    fn metrics_of_ones_own_are_columns_at_the_end() {
        let text = format!("{HEADER},f1,val_f1\n1,1,0.5,,,0.001,2,0.25,\n2,1,0.5,,,0.001,2,,0.75\n");
        let history = History::from_csv(&text).unwrap();
        assert_eq!((history.values("f1"), history.values("val_f1")), (vec![0.25], vec![0.75]));
        assert_eq!(history.epochs[1].names(), ["loss", "accuracy", "learning_rate", "seconds", "val_f1"]);
        assert_eq!(history.to_csv(), text);
        let error = History::from_csv(&format!("{HEADER},f1\n1,1,0.5,,,0.001,2,x\n")).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column metrics: found \"x\", expected a number");
    }

    #[test]
    fn what_does_not_read_is_told_by_line_and_column() {
        let read = |row: &str| History::from_csv(&format!("{HEADER}\n{row}")).unwrap_err().to_string();
        assert_eq!(read("1,x,0,,,0,0"), "line 2, column loss: found \"x\", expected a number");
        assert_eq!(read("\n1.5,0,0,,,0,0"), "line 3, column epoch: found \"1.5\", expected a whole number");
        assert_eq!(read("1,0,0,,"), "line 2, column learning_rate: found \"\", expected a number");
        assert!(read("1,0,0,,,0,0,7").starts_with("line 2, column seconds: found \"7\""));
        let header = History::from_csv("epoch,loss,val_loss\n").unwrap_err().to_string();
        assert_eq!(header, "line 1, column accuracy: found \"val_loss\", expected this name");
        assert!(History::from_csv("").is_err());
        assert_eq!(History::from_csv(HEADER).unwrap(), History::default());
    }
}
