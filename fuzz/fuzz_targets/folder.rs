//! A picture in a folder of classes.
#![no_main]

use fer::data::{Dataset, ReadConfig};
use fer_fuzz::{only_our_panics, told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    only_our_panics();
    with_file("faces/happy/0.png", bytes, |path| {
        let faces = path.ancestors().nth(2).unwrap();
        if let Some(data) = told(Dataset::open(faces)) {
            assert_eq!(data.len(), 1);
        }
        let size = Some("12x9".parse().unwrap());
        let config = ReadConfig { size, colour: true, allow_truncated: true, ..ReadConfig::default() };
        if let Some(data) = told(Dataset::open_with(faces, &config)) {
            assert_eq!(data.shape().values(), 3 * 12 * 9);
        }
    });
});
