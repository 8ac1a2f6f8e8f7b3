//! Showing a training to those who wait for it.

use std::io::Write;

use crate::BoxError;
use crate::callback::{BatchLog, Callback, Control};

/// Writes how a training goes: loss, accuracy, learning rate, images per second and the time left, in lines
/// like those of Keras. What callbacks say is written between them.
///
/// What cannot be written is left out: a closed terminal is no reason to end a training.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    style: Style,
    last: Option<BatchLog>,
    /// When the line was last written, in seconds of the epoch.
    written: f64,
    /// The same in seconds of the validation.
    validated: f64,
    /// Whether the terminal's line is that of a batch.
    open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
}

impl<W: Write> Progress<W> {
    /// For a terminal: a bar that moves along in its line.
    pub fn bars(out: W) -> Self {
        Self { out, style: Style::Bars, last: None, written: 0.0, validated: 0.0, open: false }
    }

    /// For a file or a pipe: a line each epoch, and one each minute of it.
    pub fn lines(out: W) -> Self {
        Self { style: Style::Lines, ..Self::bars(out) }
    }

    /// The seconds between two lines.
    fn interval(&self) -> f64 {
        match self.style {
            Style::Bars => 0.1,
            Style::Lines => 60.0,
        }
    }

    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Ends the line of a batch, which would be overwritten otherwise.
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write("\n");
        }
    }

    fn line(&mut self, text: &str, stays: bool) {
        match self.style {
            // Back to the line's beginning; what was longer there is erased.
            Style::Bars => self.write(&format!("\r{text}\x1b[K{}", if stays { "\n" } else { "" })),
            Style::Lines => self.write(&format!("{text}\n")),
        }
        self.open = !stays && self.style == Style::Bars;
    }
}

impl<W: Write> Callback for Progress<W> {
    fn name(&self) -> &str {
        "Progress"
    }

    fn on_train_begin(&mut self, control: &mut Control) -> Result<(), BoxError> {
        (self.last, self.open) = (None, false);
        if let Some(log) = control.log() {
            self.write(&format!("Resuming after epoch {}/{}\n", log.epoch, control.epochs));
        }
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &BatchLog) {
        if self.last.is_none_or(|last| last.epoch != batch.epoch) {
            self.write(&format!("Epoch {}/{}\n", batch.epoch, batch.epochs));
            self.written = 0.0;
        }
        self.last = Some(*batch);
        if batch.seconds - self.written >= self.interval() {
            self.written = batch.seconds;
            let text = format!(
                "{} - {} - loss: {:.4} - accuracy: {:.4}{} - ETA {}",
                bar(batch),
                duration(batch.seconds),
                batch.loss,
                batch.accuracy,
                rates(batch),
                duration(left(batch))
            );
            self.line(&text, false);
        }
    }

    fn on_validation_batch_end(&mut self, batch: &BatchLog) {
        // Its seconds begin at 0 anew.
        if batch.seconds < self.validated {
            self.validated = 0.0;
        }
        if batch.seconds - self.validated >= self.interval() {
            self.validated = batch.seconds;
            let seconds = duration(batch.seconds);
            self.line(
                &format!("{} - {seconds} - validation - ETA {}", bar(batch), duration(left(batch))),
                false,
            );
        }
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        let (Some(log), Some(batch)) = (control.log(), self.last) else { return Ok(()) };
        let mut text = format!(
            "{} - {} {:.0}ms/step - loss: {:.4} - accuracy: {:.4}",
            bar(&batch),
            duration(log.seconds),
            1e3 * batch.seconds / f64::from(batch.step),
            log.loss,
            log.accuracy
        );
        let (of_validation, of_training): (Vec<_>, Vec<_>) = log
            .metrics
            .iter()
            .map(|(name, &value)| (name.as_str(), value))
            .partition(|(name, _)| name.starts_with("val_"));
        let fixed = [("val_loss", log.val_loss), ("val_accuracy", log.val_accuracy)];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in of_training.into_iter().chain(fixed).chain(of_validation) {
            text += &format!(" - {name}: {value:.4}");
        }
        text += &rates(&batch);
        let epochs = control.history.epochs.len();
        let left = (control.epochs as usize).saturating_sub(epochs);
        if left > 0 {
            let seconds: f64 = control.history.values("seconds").iter().sum();
            text += &format!(" - {} left", duration(seconds / epochs as f64 * left as f64));
        }
        self.line(&text, true);
        Ok(())
    }

    fn on_train_end(&mut self, _control: &mut Control, _ended: crate::Ended) -> Result<(), BoxError> {
        self.close();
        Ok(())
    }

    fn on_message(&mut self, message: &str) {
        self.close();
        self.write(&format!("{message}\n"));
    }
}

/// The seconds until all batches are done.
fn left(batch: &BatchLog) -> f64 {
    batch.seconds / f64::from(batch.step) * (batch.steps as f64 - f64::from(batch.step))
}

/// `120/599 [=====>........................]`
fn bar(batch: &BatchLog) -> String {
    const WIDTH: usize = 30;
    let steps = batch.steps.max(batch.step as usize);
    let filled = WIDTH * batch.step as usize / steps.max(1);
    let arrow = if filled < WIDTH { ">" } else { "" };
    let bar = format!("{}{arrow}", "=".repeat(filled));
    format!("{:>width$}/{steps} [{bar:.<WIDTH$}]", batch.step, width = steps.to_string().len())
}

fn rates(batch: &BatchLog) -> String {
    let images = batch.samples as f64 / batch.seconds;
    format!(" - learning_rate: {} - {images:.0} images/s", batch.learning_rate)
}

/// `13s`, `5:07` or `1:02:03`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use candle_nn::VarMap;
    use fer_metrics::{EpochLog, History};

    use super::*;

    fn batch(step: u32, seconds: f64) -> BatchLog {
        BatchLog {
            epoch: 2,
            epochs: 100,
            step,
            steps: 599,
            samples: u64::from(step) * 32,
            loss: 0.65,
            accuracy: 0.5,
            learning_rate: 0.001,
            seconds,
        }
    }

    fn shown(mut progress: Progress<Vec<u8>>) -> String {
        let log = EpochLog {
            epoch: 2,
            loss: 0.5,
            accuracy: 0.75,
            val_loss: Some(0.25),
            val_accuracy: Some(1.0),
            learning_rate: f64::from(0.001_f32),
            seconds: 130.0,
            metrics: Default::default(),
        };
        let history = History { epochs: vec![log.clone(), log] };
        let weights = VarMap::new();
        let mut control = Control::new(&history, &weights, 100, 0.001);
        progress.on_batch_end(&batch(1, 0.05));
        progress.on_batch_end(&batch(300, 62.0));
        progress.on_message("a message");
        progress.on_batch_end(&batch(599, 119.8));
        progress.on_epoch_end(&mut control).unwrap();
        String::from_utf8(progress.out).unwrap()
    }

    const LAST: &str = "599/599 [==============================] - 2:10 200ms/step - loss: 0.5000 - accuracy: \
                        0.7500 - val_loss: 0.2500 - val_accuracy: 1.0000 - learning_rate: 0.001 - 160 images/s \
                        - 3:32:20 left";

    const MIDDLE: &str = "300/599 [===============>..............] - 1:02 - loss: 0.6500 - accuracy: 0.5000 - \
                          learning_rate: 0.001 - 155 images/s - ETA 1:02";

    #[test]
    fn a_log_has_a_line_a_minute_and_one_each_epoch() {
        let expected = format!("Epoch 2/100\n{MIDDLE}\na message\n{LAST}\n");
        assert_eq!(shown(Progress::lines(Vec::new())), expected);
    }

    #[test]
    fn a_bar_stays_in_its_line_until_something_else_is_said() {
        let shown = shown(Progress::bars(Vec::new()));
        assert!(
            shown.starts_with(&format!("Epoch 2/100\n\r{MIDDLE}\x1b[K\na message\n\r599/599")),
            "{shown}"
        );
        assert!(shown.ends_with(&format!("\r{LAST}\x1b[K\n")), "{shown}");
    }

    #[test]
    fn metrics_of_ones_own_follow_those_there_always_are() {
        let metrics = [("f1".into(), 0.5), ("val_f1".into(), 0.25)].into();
        let log = EpochLog {
            epoch: 1,
            val_loss: Some(2.0),
            val_accuracy: Some(0.0),
            metrics,
            ..Default::default()
        };
        let (history, weights) = (History { epochs: vec![log] }, VarMap::new());
        let mut progress = Progress::lines(Vec::new());
        progress.on_batch_end(&batch(599, 1.0));
        progress.on_epoch_end(&mut Control::new(&history, &weights, 1, 0.001)).unwrap();
        let shown = String::from_utf8(progress.out).unwrap();
        let expected = "accuracy: 0.0000 - f1: 0.5000 - val_loss: 2.0000 - val_accuracy: 0.0000 - val_f1: 0.2500 - learning";
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn a_long_validation_is_shown_on_a_terminal() {
        let mut progress = Progress::bars(Vec::new());
        progress.on_validation_batch_end(&batch(300, 3.0));
        progress.on_validation_batch_end(&batch(301, 3.01));
        progress.on_validation_batch_end(&batch(2, 0.2));
        let shown = String::from_utf8(progress.out).unwrap();
        let line = "\r300/599 [===============>..............] - 3s - validation - ETA 3s\x1b[K";
        assert!(shown.starts_with(line), "{shown}");
        assert_eq!(shown.matches("validation").count(), 2, "{shown}");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([0.2, 13.4, 307.0, 3723.0].map(duration), ["0s", "13s", "5:07", "1:02:03"]);
    }
}
