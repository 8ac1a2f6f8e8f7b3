//! The rows of a split.
#![no_main]

use std::sync::OnceLock;

use fer::data::{Dataset, Subsets};
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    let data = DATA.get_or_init(|| Dataset::drawn(40, 1));
    with_file("split.csv", bytes, |path| {
        if let Some(subsets) = told(Subsets::read_csv(path, data)) {
            assert!(subsets.train.len() + subsets.valid.len() <= data.len());
        }
    });
});
