//! Predictions that another program made, as `evaluate --predictions` reads them.
#![no_main]

use clap::Parser;
use fer::command::evaluate;
use fer_fuzz::{told, with_file};

fn is_called_nan(text: &[u8]) -> bool {
    text.windows(3).any(|part| part == b"NaN")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("predictions.csv", bytes, |path| {
        let args = evaluate::Args::try_parse_from(["evaluate", "--predictions", path.to_str().unwrap()]);
        let mut text = Vec::new();
        if told(evaluate::run(&args.unwrap(), &mut text)).is_some() {
            // A label may be called so.
            assert!(is_called_nan(bytes) || !is_called_nan(&text));
        }
    });
});
