//! Predictions that another program made, as `evaluate --predictions` reads them.
#![no_main]

use clap::Parser;
use fer::command::evaluate;
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("predictions.csv", bytes, |path| {
        let args = evaluate::Args::try_parse_from(["evaluate", "--predictions", path.to_str().unwrap()]);
        let mut text = Vec::new();
        if told(evaluate::run(&args.unwrap(), &mut text)).is_some() {
            assert!(!String::from_utf8(text).unwrap().contains("NaN"));
        }
    });
});
