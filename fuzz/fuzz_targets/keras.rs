//! A Keras model, `.keras` or `.h5`, with what describes it and without.
#![no_main]

use fer::model::Classifier;
use fer::model::keras::{Structure, import_bytes};
use fer_fuzz::told;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    told(import_bytes(bytes.to_vec(), Some(&Structure::Notebook { side: 48 })));
    let Some(model) = told(import_bytes(bytes.to_vec(), None)) else { return };
    let labels = (0..model.classes).map(|class| format!("class {class}")).collect();
    let Some(config) = told(model.config(labels)) else { return };
    // What was imported is a model that opens.
    told(Classifier::new(config, &model.tensors, &candle_core::Device::Cpu));
});
