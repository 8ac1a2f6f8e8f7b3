//! Weights, beside the `model.toml` of a small network.
#![no_main]

use fer::model::Classifier;
use fer_fuzz::told;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let toml = include_str!("../seeds/model_toml/model.toml");
    if let Some(classifier) = told(Classifier::from_bytes(toml, bytes)) {
        let input = classifier.input();
        let pixels = vec![7; input.channels * input.height * input.width];
        for probabilities in told(classifier.predict_pixels(&pixels)).into_iter().flatten() {
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
});
