//! What `run.json` says.

use fer_data::{Audit, Leakage, Source};
use fer_metrics::EpochLog;
use serde::{Deserialize, Serialize};

use crate::page::{Page, Part, data_facts, fact};
use crate::run::settings::Settings;

/// `run.json`: how a run was made and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this project.
    pub version: String,
    /// The command line that began it.
    #[serde(default)]
    pub command: String,
    /// What the run was made from.
    pub settings: Settings,
    /// The data with its md5.
    pub source: Source,
    /// The rows of each side of the split, and the evaluation rows that also occur in training.
    pub split: Leakage,
    /// What became of the rows by FER+.
    pub ferplus: Option<serde_json::Value>,
    /// Images of one grey value that were left out.
    #[serde(default)]
    pub constant: usize,
    /// The device's name.
    pub device: String,
    /// Threads of the CPU.
    pub threads: usize,
    /// What came of it; `None` while the run is unfinished.
    pub result: Option<RunResult>,
}

/// What came of a run. Accuracies are shares of the rows, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// On the validation rows.
    pub valid_accuracy: f64,
    /// On the validation rows without a copy in training.
    pub leak_free_valid_accuracy: f64,
    /// The validation rows that the model is wrong about.
    pub wrong_validation_predictions: u64,
    /// On the test rows, where the split has them.
    pub test_accuracy: Option<f64>,
    /// On the test rows without a copy in training.
    pub leak_free_test_accuracy: Option<f64>,
    /// On the validation rows by the views of the settings, where they are more than one.
    #[serde(default)]
    pub valid_accuracy_by_views: Option<f64>,
    /// On the test rows by these views.
    #[serde(default)]
    pub test_accuracy_by_views: Option<f64>,
}

impl Record {
    /// The page of a run of which nothing has come yet.
    pub(crate) fn page(&self, audit: &Audit, network: &str) -> Page {
        let Leakage { train, valid, test, valid_in_train, test_in_train, .. } = self.split;
        let mut data = data_facts(audit);
        data.push(fact("split", format!("{train} rows to train on, {valid} to validate, {test} to test")));
        data.push(fact(
            "leakage",
            format!("{valid_in_train} validation rows and {test_in_train} test rows also occur in training"),
        ));
        if let Some(ferplus) = &self.ferplus {
            data.push(fact("rows by FER+", ferplus));
        }
        if self.constant > 0 {
            data.push(fact("left out", format!("{} images of one value", self.constant)));
        }
        let made = vec![
            fact("version", format!("fer {}", self.version)),
            fact("device", format!("{}, {} threads", self.device, self.threads)),
            fact("seed", self.settings.train.seed),
            fact("network", network.lines().next().unwrap_or_default()),
            fact(
                "parameters",
                network.lines().filter(|line| line.contains("params")).collect::<Vec<_>>().join("; "),
            ),
        ];
        Page {
            title: format!("Training of {}", self.settings.model.name()),
            data,
            made,
            again: self.command.clone(),
            settings: serde_json::to_string_pretty(&self.settings).ok(),
            ..Page::default()
        }
    }
}

impl Page {
    /// The page of a run that has come to its end.
    pub(crate) fn finished(mut self, result: &RunResult, history: Vec<EpochLog>, parts: Vec<Part>) -> Self {
        let RunResult { epochs, seconds, .. } = result;
        self.subtitle = format!("{epochs} epochs in {}", duration(*seconds));
        self.numbers = parts.iter().map(Part::number).collect();
        self.numbers.push(fact("epochs", epochs));
        self.numbers.push(fact("time", duration(*seconds)));
        Self { history, evaluations: parts, ..self }
    }
}

/// Seconds as a person says them.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60) {
        (0, 0) => format!("{seconds:.1} s"),
        (0, minutes) => format!("{minutes} min {} s", whole % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
