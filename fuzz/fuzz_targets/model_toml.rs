//! `model.toml`, beside weights of a small network.
#![no_main]

use fer::model::Classifier;
use fer_fuzz::told;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let weights = include_bytes!("../seeds/safetensors/model.safetensors");
    if let Some(classifier) = told(Classifier::from_bytes(text, weights)) {
        let input = classifier.input();
        let pixels = vec![7; input.channels * input.height * input.width];
        told(classifier.predict_pixels(&pixels));
    }
});
