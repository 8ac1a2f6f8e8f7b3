//! What Keras' `model.to_json()` gave, beside weights.
#![no_main]

use fer::model::keras::{Structure, import_bytes};
use fer_fuzz::told;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let weights = include_bytes!("../../tests/golden/keras_models/keras2_xception.weights.h5");
    told(import_bytes(weights.to_vec(), Some(&Structure::Json(text.to_owned()))));
});
