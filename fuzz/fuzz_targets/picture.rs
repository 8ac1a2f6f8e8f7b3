//! A photo: decoded, searched for faces, its expression told.
#![no_main]

use std::sync::OnceLock;

use fer::Recognizer;
use fer::model::Classifier;
use fer::picture::Decoder;
use fer_fuzz::{only_our_panics, told};

fn is_sum_of_one(probabilities: &[(String, f32)]) -> bool {
    (probabilities.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-4
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    only_our_panics();
    static READERS: OnceLock<(Classifier, Recognizer)> = OnceLock::new();
    let (classifier, recognizer) =
        READERS.get_or_init(|| (Classifier::pretrained().unwrap(), Recognizer::pretrained().unwrap()));
    // What is larger only takes longer.
    let decoder = Decoder { allow_truncated: true, max_bytes: 1_000_000, ..Decoder::default() };
    told(Decoder { allow_truncated: false, ..decoder }.decode(bytes));
    let Some(picture) = told(decoder.decode(bytes)) else { return };
    if let Some(prediction) = told(classifier.predict(&picture)) {
        assert!(is_sum_of_one(&prediction.probabilities));
    }
    for face in told(recognizer.recognize(&picture)).into_iter().flatten() {
        assert!(is_sum_of_one(&face.prediction.probabilities));
    }
});
