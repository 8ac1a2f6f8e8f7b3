//! A table of faces: CSV, or packed by gzip, Zstandard, zip or tar.
#![no_main]

use fer::data::{Classes, Dataset, ReadConfig, Split, Subsets};
use fer_fuzz::{told, with_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    with_file("faces.csv", bytes, |path| {
        let named = ReadConfig { classes: Classes::AsFound, colour: true, ..ReadConfig::default() };
        told(Dataset::open_with(path, &named));
        let Some(data) = told(Dataset::open(path)) else { return };
        data.audit();
        if let Some(subsets) = told(data.split(Split::stratified(0.3))) {
            // What it wrote it reads again.
            let split = path.with_file_name("split.csv");
            subsets.write_csv(&split).unwrap();
            let again = Subsets::read_csv(&split, &data).unwrap();
            assert_eq!(again.train.rows(), subsets.train.rows());
        }
    });
});
