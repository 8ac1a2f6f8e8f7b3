//! Settings from a file.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::Error;
use crate::run::settings::Settings;

impl Settings {
    /// These settings with those that a recipe, a TOML file, names in their place.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Format`] when it is no TOML or names an unknown setting, a
    /// value that a setting cannot have, or what comes from the data.
    pub fn with_recipe(&self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        self.changed_by(&text).map_err(|reason| Error::Format { path: path.to_owned(), reason })
    }

    fn changed_by(&self, text: &str) -> Result<Self, String> {
        let changes: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        if let Some(Value::Table(model)) = changes.get("model") {
            for field in ["classes", "channels", "height", "width"] {
                if model.contains_key(field) {
                    return Err(format!("model.{field} comes from the data and cannot be set"));
                }
            }
        }
        let mut merged = Table::try_from(self).map_err(|e| e.to_string())?;
        // Another architecture has other settings.
        if let (Some(Value::Table(model)), Some(Value::Table(base))) =
            (changes.get("model"), merged.get_mut("model"))
            && let Some(name) = model.get("architecture")
            && Some(name) != base.get("architecture")
        {
            *base = Table::from_iter([("architecture".to_owned(), name.clone())]);
        }
        merge(&mut merged, changes);
        merged.try_into().map_err(|e: toml::de::Error| e.to_string())
    }
}

/// Puts the values of `changes` in the place of those in `table`, table by table.
fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fer_model::Architecture;

    use super::*;

    #[test]
    fn a_recipe_changes_what_it_names_and_nothing_else() {
        let base = Settings::default();
        let changed = base.changed_by("batch_size = 8\n[train.optimizer]\nlearning_rate = 0.01\n").unwrap();
        let mut expected = base.clone();
        (expected.batch_size, expected.train.optimizer.learning_rate) = (8, 0.01);
        assert_eq!(changed, expected);
        assert_eq!(base.changed_by("").unwrap(), base);

        let vgg = base.changed_by("[model]\narchitecture = \"vgg\"\n").unwrap();
        assert!(matches!(vgg.model, Architecture::Vgg(_)), "{:?}", vgg.model);
    }

    #[test]
    fn a_wrong_recipe_is_named_with_what_is_wrong() {
        let base = Settings::default();
        let error = |text: &str| base.changed_by(text).unwrap_err();
        assert!(error("batch_sizes = 8").contains("unknown field `batch_sizes`"));
        assert!(error("[model]\nclasses = 3").contains("model.classes comes from the data"));
        let missing = base.with_recipe("missing.toml").unwrap_err().to_string();
        assert!(missing.starts_with("missing.toml: "), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let recipe = folder.path().join("a\u{1b}[31m.toml");
        std::fs::write(&recipe, "[\u{1b}[31mtrain]").unwrap();
        let steering = base.with_recipe(&recipe).unwrap_err().to_string();
        assert!(
            steering.contains("a\\u{1b}[31m.toml: ") && steering.contains("[\\u{1b}[31mtrain]"),
            "{steering}"
        );
    }
}
