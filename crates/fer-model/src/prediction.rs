//! What a classifier answers.

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// What the network says of one image.
///
/// It is written as `{"label":"happy","probabilities":{"anger":0.01,…}}`, in the order of the classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The most probable label.
    pub label: String,
    /// Every label with its probability, in the order of the classes; they sum to 1.
    pub probabilities: Vec<(String, f32)>,
}

impl Prediction {
    /// The answer of these labels' probabilities. Of equal ones the first wins, as in NumPy's argmax.
    pub(crate) fn of(labels: &[String], row: Vec<f32>) -> Self {
        let probabilities: Vec<(String, f32)> = labels.iter().cloned().zip(row).collect();
        let best = probabilities.iter().reduce(|best, p| if p.1 > best.1 { p } else { best });
        Self { label: best.map(|(label, _)| label.clone()).unwrap_or_default(), probabilities }
    }

    /// The `n` most probable labels, or all where there are fewer, the most probable first.
    ///
    /// ```
    /// use fer_model::Prediction;
    /// let probabilities = [("sad", 0.2), ("happy", 0.7), ("neutral", 0.1)];
    /// let probabilities = probabilities.map(|(label, p)| (label.to_owned(), p)).to_vec();
    /// let prediction = Prediction { label: "happy".into(), probabilities };
    /// assert_eq!(prediction.top(2), [("happy", 0.7), ("sad", 0.2)]);
    /// ```
    pub fn top(&self, n: usize) -> Vec<(&str, f32)> {
        let mut ranked: Vec<(&str, f32)> =
            self.probabilities.iter().map(|(label, p)| (label.as_str(), *p)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(n);
        ranked
    }
}

impl Serialize for Prediction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_struct("Prediction", 2)?;
        written.serialize_field("label", &self.label)?;
        written.serialize_field("probabilities", &InOrder(&self.probabilities))?;
        written.end()
    }
}

/// A map whose keys keep their order.
struct InOrder<'a>(&'a [(String, f32)]);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, p)| (label, p)))
    }
}
