//! The record of a run, which a resumed one goes by.
#![no_main]

use fer::run::RunFolder;
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("run/run.json", bytes, |path| {
        told(RunFolder::open(path.parent().unwrap()));
    });
});
