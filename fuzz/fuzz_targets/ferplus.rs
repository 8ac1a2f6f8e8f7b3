//! The votes of FER+.
#![no_main]

use std::sync::OnceLock;

use fer::data::{Dataset, FerPlus};
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    let data = DATA.get_or_init(|| Dataset::drawn(3, 1));
    with_file("fer2013new.csv", bytes, |path| {
        if let Some(votes) = told(FerPlus::open(path)) {
            for row in 0..votes.len() as u32 {
                if let Some(shares) = votes.votes(row).and_then(|votes| votes.distribution()) {
                    assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
            told(data.with_ferplus(&votes));
            told(data.with_ferplus_votes(&votes));
        }
    });
});
