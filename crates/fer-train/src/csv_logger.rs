//! The history as a table.

use std::fmt::Write;
use std::path::PathBuf;

use fer_metrics::History;

use crate::callback::{Callback, Control};
use crate::{BoxError, files};

/// Writes the history as CSV after each epoch: Keras' `CSVLogger`, with the columns
/// `epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds` and those of metrics of one's own.
///
/// Epochs count from 1; the learning rate is that of the epoch's last step; the seconds are those of the whole
/// epoch. What was not measured is an empty cell. The whole file is written anew each time, so that an
/// interrupted and resumed training leaves no epoch out and none twice.
#[derive(Debug)]
pub struct CsvLogger {
    path: PathBuf,
}

impl CsvLogger {
    /// A log in the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn write(&self, history: &History) -> Result<(), BoxError> {
        let mut text = String::from("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds");
        let metrics = history.metric_names();
        metrics.iter().for_each(|name| text.extend([",", name]));
        text.push('\n');
        let optional = |number: Option<f64>| number.map(|x| x.to_string()).unwrap_or_default();
        for log in &history.epochs {
            let (val_loss, val_accuracy) = (optional(log.val_loss), optional(log.val_accuracy));
            // The learning rate is kept in f32: 0.001, not the double next to it.
            let learning_rate = log.learning_rate as f32;
            write!(
                text,
                "{},{},{},{val_loss},{val_accuracy},{learning_rate},{:.3}",
                log.epoch, log.loss, log.accuracy, log.seconds
            )?;
            metrics.iter().for_each(|name| text.extend([",", &optional(log.get(name))]));
            text.push('\n');
        }
        Ok(files::write(&self.path, text.as_bytes())?)
    }
}

impl Callback for CsvLogger {
    fn name(&self) -> &str {
        "CsvLogger"
    }

    fn on_train_begin(&mut self, control: &mut Control) -> Result<(), BoxError> {
        self.write(control.history)
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        self.write(control.history)
    }
}

#[cfg(test)]
mod tests {
    use fer_metrics::EpochLog;

    use super::*;

    #[test]
    fn missing_values_are_empty_and_the_learning_rate_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let log = EpochLog {
            epoch: 1,
            loss: 0.1 + 0.2,
            accuracy: 0.5,
            val_loss: None,
            val_accuracy: None,
            learning_rate: f64::from(0.001_f32),
            seconds: 1.23456,
            metrics: Default::default(),
        };
        let second = EpochLog { epoch: 2, val_loss: Some(f64::NAN), val_accuracy: Some(1.0), ..log.clone() };
        CsvLogger::new(&path).write(&History { epochs: vec![log, second] }).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n\
             1,0.30000000000000004,0.5,,,0.001,1.235\n\
             2,0.30000000000000004,0.5,NaN,1,0.001,1.235\n"
        );
    }

    #[test]
    fn metrics_of_ones_own_are_columns_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let first = EpochLog { epoch: 1, metrics: [("f1".into(), 0.25)].into(), ..Default::default() };
        let second = EpochLog { epoch: 2, metrics: [("val_f1".into(), 0.5)].into(), ..Default::default() };
        let history = History { epochs: vec![first, second] };
        CsvLogger::new(&path).write(&history).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].ends_with(",seconds,f1,val_f1"), "{text}");
        assert_eq!(rows[1..], ["1,0,0,,,0,0.000,0.25,", "2,0,0,,,0,0.000,,0.5"]);
        assert_eq!(History::from_csv(&text).unwrap(), history);
    }
}
