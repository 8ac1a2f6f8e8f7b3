//! The checkpoint of a training.
#![no_main]

use fer::train::Checkpoint;
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("state.safetensors", bytes, |path| {
        if let Some(checkpoint) = told(Checkpoint::load(path)) {
            // What it reads it writes, and reads again.
            let again = path.with_file_name("again.safetensors");
            checkpoint.save(&again).unwrap();
            assert_eq!(Checkpoint::load(&again).unwrap().position(), checkpoint.position());
        }
    });
});
