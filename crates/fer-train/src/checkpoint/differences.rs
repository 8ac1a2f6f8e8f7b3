//! Whether a checkpoint is of the training that is to go on with it.

use serde::Serialize;
use serde_json::Value;

use super::Checkpoint;
use crate::{TrainConfig, weights};

impl Checkpoint {
    /// What keeps `present`, the beginning of a training, from going on where this one is.
    pub(crate) fn differences(&self, present: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        // Where the schedule does not span them, the epochs may change: they decide when to end, and nothing before.
        let spanned = self.config.schedule.spans_the_training() || self.own.has_schedule();
        let epochs = if spanned { self.config.epochs } else { present.config.epochs };
        let config = TrainConfig { epochs, ..self.config.clone() };
        compare("", &to_value(&config), &to_value(&present.config), &mut differences);
        compare("", &to_value(&self.own), &to_value(&present.own), &mut differences);
        compare("", &to_value(&self.data), &to_value(&present.data), &mut differences);
        let names = |checkpoint: &Self| {
            let names: Vec<_> = checkpoint.callbacks.iter().map(|(name, _)| name.as_str()).collect();
            Value::from(names.join(", "))
        };
        compare("callbacks", &names(self), &names(present), &mut differences);
        if names(self) == names(present) {
            for ((name, then), (_, now)) in self.callbacks.iter().zip(&present.callbacks) {
                compare(name, &then.settings, &now.settings, &mut differences);
            }
        }
        for (then, now) in weights::differences(&self.weights, &present.weights) {
            differences.push(format!("the network had {then}, now {now}"));
        }
        differences
    }
}

/// The settings as JSON. Their types are maps of plain values, which always have that form.
fn to_value(settings: &impl Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Adds each value that differs, under its full name.
fn compare(name: &str, then: &Value, now: &Value, differences: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for key in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let value = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                compare(&name, &value(then), &value(now), differences);
            }
        }
        _ if then == now => {}
        _ => differences.push(format!("{name} was {then}, now {now}")),
    }
}
