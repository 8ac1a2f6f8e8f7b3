//! The card of shipped weights: what they were made of, how good they are, what they are not for.

use std::fmt::Write;

use fer::metrics::{calibration_error, log_loss};
use fer::{Comparison, Evaluation};
use serde_json::Value;

use crate::Failure;

/// Equal-width bins of the calibration error.
const BINS: usize = 15;

pub struct Card<'a> {
    /// `run.json`.
    pub record: &'a Value,
    pub commit: &'a str,
    pub recipe: &'a str,
    pub classes: usize,
    pub temperature: f64,
    /// The size of the weights' file.
    pub bytes: u64,
    pub subsets: [Subset; 2],
}

/// What was measured on a part of the data.
pub struct Subset {
    pub name: &'static str,
    /// In f32, as trained.
    pub before: Evaluation,
    /// In f32, calibrated.
    pub full: Evaluation,
    /// As shipped, beside its leak-free twin.
    pub shipped: Comparison,
}

impl Card<'_> {
    pub fn text(&self) -> Result<String, Failure> {
        let mut text = String::from("## Model card\n\n");
        self.origin(&mut text)?;
        self.accuracy(&mut text)?;
        self.classes(&mut text)?;
        self.calibration(&mut text)?;
        text += LIMITS;
        text += match self.is_ferplus() {
            true => "The labels of FER+ are Microsoft's, under the MIT licence. ",
            false => "The labels are FER2013's own. ",
        };
        text += RIGHTS;
        Ok(text)
    }

    fn is_ferplus(&self) -> bool {
        self.record["settings"]["ferplus"].is_string()
    }

    /// Which weights were kept, and what chose them.
    fn chosen(&self) -> String {
        let train = &self.record["settings"]["train"];
        let stopping = &self.record["settings"]["early_stopping"];
        let weights = if train["average"].is_null() { "the weights" } else { "the average of the weights" };
        let of_last = stopping["patience"].as_u64() >= train["epochs"].as_u64();
        let epoch = match of_last {
            true => "after the last epoch",
            false => "of the epoch that early stopping chose by PublicTest",
        };
        let recipe = if self.recipe.contains("notebook.toml") { "" } else { "recipe and " };
        format!("{weights} {epoch} of one run; {recipe}temperature by PublicTest, nothing by PrivateTest")
    }

    fn origin(&self, text: &mut String) -> Result<(), Failure> {
        let (record, settings) = (self.record, &self.record["settings"]);
        let (split, train) = (&record["split"], &settings["train"]);
        let name = record["source"]["name"].as_str().unwrap_or("unknown");
        let md5 = record["source"]["md5"].as_str().unwrap_or("unknown");
        let (labels, winner) = match self.is_ferplus() {
            true => ("the votes of FER+ (Barsoum et al. 2016) as soft targets", " with a single winner"),
            false => ("FER2013's", ""),
        };
        // A run may end before the epochs that it was given.
        let epochs = &record["result"]["epochs"];
        let chosen = self.chosen();
        writeln!(
            text,
            "| | |\n| --- | --- |\n\
             | network | `{}`, 48×48 grey, {} expressions; {:.1} MB in 16 bits |\n\
             | data | {name}, md5 `{md5}`; labels: {labels} |\n\
             | rows | {} to train on, {} of PublicTest, {} of PrivateTest{winner} |\n\
             | copies | {} rows of PublicTest and {} of PrivateTest also occur, pixel for pixel, in training |\n\
             | training | {} epochs, batch {}, seed {}, by `{}`, at commit `{}` |\n\
             | how chosen | {chosen} |\n",
            settings["model"]["architecture"].as_str().unwrap_or("unknown"),
            self.classes,
            self.bytes as f64 / 1e6,
            split["train"],
            split["valid"],
            split["test"],
            split["valid_in_train"],
            split["test_in_train"],
            if epochs.is_null() { &train["epochs"] } else { epochs },
            settings["batch_size"],
            train["seed"],
            self.recipe,
            self.commit,
        )?;
        Ok(())
    }

    fn accuracy(&self, text: &mut String) -> Result<(), Failure> {
        *text += "Accuracy in one view, with its standard error; the leak-free twin leaves out the rows with a copy in training.\n\n\
                  | rows | accuracy | leak-free twin | mean of the classes | in 32 bits | most frequent class |\n\
                  | --- | --- | --- | --- | --- | --- |\n";
        for Subset { name, full, shipped, .. } in &self.subsets {
            let (all, free) = (&shipped.all, &shipped.leak_free);
            writeln!(
                text,
                "| {name} | {} of {} rows | {} of {} rows | {:.3} | {:.4} | {:.3} |",
                with_error(all)?,
                all.rows.len(),
                with_error(free)?,
                free.rows.len(),
                all.matrix()?.report().macro_average.recall,
                full.matrix()?.accuracy(),
                all.matrix()?.majority_baseline(),
            )?;
        }
        Ok(())
    }

    fn classes(&self, text: &mut String) -> Result<(), Failure> {
        *text +=
            "\nThe part of each expression's faces that is recognised, and its precision:\n\n| expression |";
        for subset in &self.subsets {
            write!(text, " {0} faces | recall | precision |", subset.name)?;
        }
        *text += "\n| --- | --- | --- | --- | --- | --- | --- |\n";
        let reports = self
            .subsets
            .iter()
            .map(|s| Ok(s.shipped.all.matrix()?.report()))
            .collect::<Result<Vec<_>, Failure>>()?;
        for (class, name) in self.subsets[0].shipped.all.names.iter().enumerate() {
            write!(text, "| {name} |")?;
            for report in &reports {
                match report.classes.iter().find(|scores| scores.class == class) {
                    Some(s) => {
                        let s = s.scores;
                        write!(text, " {} | {:.2} | {:.2} |", s.support, s.recall, s.precision)?
                    }
                    None => write!(text, " 0 | – | – |")?,
                }
            }
            *text += "\n";
        }
        let names = self.subsets[0].shipped.all.names.iter().enumerate();
        let is_answered = |class| self.subsets.iter().any(|s| s.shipped.all.predicted.contains(&class));
        let never: Vec<&str> =
            names.filter(|(class, _)| !is_answered(*class)).map(|(_, name)| name.as_str()).collect();
        if !never.is_empty() {
            writeln!(text, "\nNever the answer for any of these faces: {}.", never.join(", "))?;
        }
        Ok(())
    }

    fn calibration(&self, text: &mut String) -> Result<(), Failure> {
        writeln!(
            text,
            "\nThe logits are divided by one temperature, {:.4}, fitted on PublicTest (Guo et al. 2017). Expected calibration \
             error, {BINS} bins:\n\n\
             | rows | before | after | log loss before | after |\n| --- | --- | --- | --- | --- |",
            self.temperature,
        )?;
        for Subset { name, before, shipped, .. } in &self.subsets {
            let error = |e: &Evaluation| calibration_error(&e.truth, e.probabilities.view(), BINS);
            let loss = |e: &Evaluation| log_loss(&e.truth, e.probabilities.view());
            let after = &shipped.all;
            writeln!(
                text,
                "| {name} | {:.4} | {:.4} | {:.4} | {:.4} |",
                error(before)?,
                error(after)?,
                loss(before)?,
                loss(after)?
            )?;
        }
        Ok(())
    }
}

/// An accuracy and its standard error.
fn with_error(evaluation: &Evaluation) -> Result<String, Failure> {
    let accuracy = evaluation.matrix()?.accuracy();
    let error = (accuracy * (1.0 - accuracy) / evaluation.rows.len() as f64).sqrt();
    Ok(format!("{accuracy:.4} ± {error:.4}"))
}

const LIMITS: &str = "
### What it is not for

It guesses the expression that most people would name, not what somebody feels. It was trained on faces found by searching the
web for emotions, many of them posed; its accuracy by age, sex or skin colour was not measured. Do not decide about people
by it. In the European Union the AI Act, Article 5(1)(f), forbids inferring emotions at work and in education, but for medical
and safety reasons. Those pictured should have agreed.

### Licences

";

const RIGHTS: &str = "FER2013's pictures were collected by an image search and have no
clear licence; none of them is part of this crate. Whether weights derived from them are free of other people's rights is
not settled; the project gives what rights it has.
";
