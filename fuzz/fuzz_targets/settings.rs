//! A recipe.
#![no_main]

use fer::run::Settings;
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("recipe.toml", bytes, |path| {
        if let Some(settings) = told(Settings::default().with_recipe(path)) {
            told(fer::train::Trainer::new(settings.train));
            told(fer::augment::Augment::new(settings.augment));
        }
    });
});
