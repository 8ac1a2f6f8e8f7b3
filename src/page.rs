//! One page of a run or an evaluation: a file that opens without a network.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fer_data::{Audit, Dataset};
use fer_metrics::{ClassScores, EpochLog, ReliabilityBin, calibration_error, log_loss, reliability, roc_auc};
use image::ImageFormat;
use serde::Serialize;

use crate::evaluation::BINS;
use crate::{Comparison, Evaluation, Result};

const PAGE: &str = include_str!("page/page.html");
/// Seconds after which the page of a training that goes on is read again.
const REFRESH: &str = r#"<meta http-equiv="refresh" content="10">"#;
/// The surest mistakes that are shown.
const MISTAKES: usize = 24;

/// A name and a value.
type Fact = (String, String);

/// What the page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Page {
    pub title: String,
    pub subtitle: String,
    /// What is to be seen first.
    pub numbers: Vec<Fact>,
    pub history: Vec<EpochLog>,
    pub evaluations: Vec<Part>,
    pub data: Vec<Fact>,
    pub made: Vec<Fact>,
    /// The command that makes it again.
    pub again: String,
    /// All settings in JSON.
    pub settings: Option<String>,
}

/// One evaluation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    name: String,
    rows: usize,
    /// The rows with a copy in training; none where that is not known.
    leaked: Option<usize>,
    accuracy: f64,
    /// The accuracy's standard error.
    error: f64,
    baseline: f64,
    leak_free: Option<f64>,
    log_loss: f64,
    roc_auc: f64,
    calibration_error: f64,
    names: Vec<String>,
    counts: Vec<Vec<u64>>,
    classes: Vec<ClassScores>,
    reliability: Vec<ReliabilityBin>,
    mistakes: Vec<Mistake>,
}

#[derive(Clone, Debug, Serialize)]
struct Mistake {
    row: u32,
    truth: String,
    predicted: String,
    probability: f32,
    /// A PNG as a `data:` address; none unless faces are to be shown.
    image: Option<String>,
}

impl Page {
    /// The page as HTML; one of a training that goes on reads itself again.
    pub fn html(&self, goes_on: bool) -> String {
        // In a script element nothing but `<` ends the text.
        let data = serde_json::to_string(self).unwrap_or_default().replace('<', "\\u003c");
        let refresh = if goes_on { REFRESH } else { "" };
        PAGE.replacen("<!--refresh-->", refresh, 1).replacen("/*data*/", &data, 1)
    }
}

impl Part {
    /// An evaluation of `data` beside its leak-free twin, where it has one, with the faces of its mistakes or without.
    ///
    /// # Errors
    /// Never for an evaluation of this data.
    pub fn of(
        name: &str,
        all: &Evaluation,
        comparison: Option<&Comparison>,
        data: &Dataset,
        with_faces: bool,
    ) -> Result<Self> {
        let (matrix, probabilities) = (all.matrix()?, all.probabilities.view());
        let accuracy = matrix.accuracy();
        let leak_free = match comparison {
            Some(Comparison { leak_free, .. }) if !leak_free.rows.is_empty() => {
                Some(leak_free.matrix()?.accuracy())
            }
            _ => None,
        };
        let (_, wrong) = all.surest();
        let mistakes = wrong.into_iter().take(MISTAKES).map(|i| Mistake {
            row: all.rows[i],
            truth: all.names[all.truth[i]].clone(),
            predicted: all.names[all.predicted[i]].clone(),
            probability: all.sureness(i),
            image: if with_faces { png(data, i) } else { None },
        });
        Ok(Self {
            name: name.to_owned(),
            rows: all.rows.len(),
            leaked: comparison.map(Comparison::leaked),
            accuracy,
            error: (accuracy * (1.0 - accuracy) / all.rows.len() as f64).sqrt(),
            baseline: matrix.majority_baseline(),
            leak_free,
            log_loss: log_loss(&all.truth, probabilities)?,
            roc_auc: roc_auc(&all.truth, probabilities)?.macro_average,
            calibration_error: calibration_error(&all.truth, probabilities, BINS)?,
            names: all.names.clone(),
            counts: matrix.counts().rows().into_iter().map(|row| row.to_vec()).collect(),
            classes: matrix.report().named(&all.names)?.classes,
            reliability: reliability(&all.truth, probabilities, BINS)?,
            mistakes: mistakes.collect(),
        })
    }

    /// What is to be seen first of it.
    pub fn number(&self) -> Fact {
        (format!("{} accuracy", self.name.to_lowercase()), format!("{:.4}", self.accuracy))
    }
}

/// A face as a PNG in a `data:` address; none where there is no memory for it.
fn png(data: &Dataset, i: usize) -> Option<String> {
    let mut png = std::io::Cursor::new(Vec::new());
    data.picture(i).write_to(&mut png, ImageFormat::Png).ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png.into_inner())))
}

/// What data is, and what it should not be trusted with.
pub(crate) fn data_facts(audit: &Audit) -> Vec<Fact> {
    let source = &audit.source;
    let name = source.name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let classes: Vec<String> =
        audit.classes.iter().map(|class| format!("{} {}", class.name, class.rows)).collect();
    vec![
        fact("source", format!("{}{name}", source.path)),
        fact("md5", &source.md5),
        fact("images", format!("{} of {} pixels: {}", audit.rows, audit.shape, classes.join(", "))),
        fact(
            "duplicates",
            format!(
                "{} distinct images; {} rows repeat one, {} images occur with more than one label, {} show one value alone",
                audit.distinct_images, audit.redundant_rows, audit.conflicting_groups, audit.constant_images
            ),
        ),
    ]
}

pub(crate) fn fact(name: &str, value: impl ToString) -> Fact {
    (name.to_owned(), value.to_string())
}

/// The command line of this process, for a shell.
pub(crate) fn command_line() -> String {
    let quoted = |argument: String| match argument
        .contains(|c: char| !c.is_alphanumeric() && !"-_./,=+:".contains(c))
    {
        true => format!("'{}'", argument.replace('\'', r"'\''")),
        false => argument,
    };
    // `args` panics where one is no Unicode.
    std::env::args_os()
        .map(|argument| quoted(argument.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_holds_does_not_end_the_script() {
        let page = Page { title: "</script><b>".into(), ..Page::default() };
        let html = page.html(true);
        assert!(html.contains(r"\u003c/script>\u003cb>") && html.contains(REFRESH));
        assert_eq!(html.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(!page.html(false).contains("http-equiv"));
    }

    #[test]
    fn the_page_asks_nobody() {
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !["http:", "https:", "//cdn", "<link", "@import", "fetch("]
                .iter()
                .any(|part| page.contains(part))
        );
    }
}
