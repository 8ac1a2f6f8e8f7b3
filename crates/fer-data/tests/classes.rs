//! Data sets of other classes than FER2013's.

use std::fs;
use std::path::Path;

use fer_data::{Classes, Dataset, LabelEncoder, ReadConfig, Split, Vocabulary};
use image::GrayImage;
use ndarray::Array3;

fn config(classes: Classes) -> ReadConfig {
    ReadConfig { classes, ..ReadConfig::default() }
}

fn folders(names: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in names {
        fs::create_dir_all(root.path().join(name)).unwrap();
        GrayImage::new(4, 4).save(root.path().join(name).join("a.png")).unwrap();
    }
    root
}

fn table(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn names(data: &Dataset) -> Vec<String> {
    let name = |label: &u32| data.encoder().name(*label).unwrap().to_owned();
    data.labels().unwrap().iter().map(name).collect()
}

#[test]
fn folders_of_any_names_are_classes() {
    let root = folders(&["train/dog", "train/bird", "test/cat"]);
    let data = Dataset::open_with(root.path(), &config(Classes::AsFound)).unwrap();
    assert_eq!(names(&data), ["cat", "bird", "dog"]);
    assert_eq!(data.encoder().names(), ["bird", "cat", "dog"]);
    let error = Dataset::open(root.path()).unwrap_err().to_string();
    assert!(
        error.contains("found a folder `cat`") && error.contains("classes 0 to 6, or anger, disgust"),
        "{error}"
    );

    // Ten of them, by number.
    let digits: Vec<String> = (0..=10).map(|i| format!("{i}")).collect();
    let digits = folders(&digits.iter().map(String::as_str).collect::<Vec<_>>());
    let data = Dataset::open_with(digits.path(), &config(Classes::AsFound)).unwrap();
    assert_eq!(data.encoder().names()[8..], ["8", "9", "10"]);
    assert_eq!(data.targets().dim(), (11, 11));
    let places = data
        .targets()
        .rows()
        .into_iter()
        .map(|row| row.iter().position(|target| *target == 1.0).unwrap())
        .collect::<Vec<_>>();
    assert_eq!(places, [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9], "in the order of the folders");
}

#[test]
fn the_numbers_of_a_data_set_have_its_meaning() {
    let raf = folders(&["train/1", "train/4", "train/7", "test/7"]);
    let data = Dataset::open_with(raf.path(), &config(Classes::RafDb)).unwrap();
    assert_eq!(names(&data), ["neutral", "surprise", "happy", "neutral"]);
    let error = Dataset::open_with(folders(&["0"]).path(), &config(Classes::RafDb)).unwrap_err().to_string();
    assert!(error.contains("found a folder `0`") && error.contains("1 to 7, or surprise, fear"), "{error}");
    let affect = folders(&["0", "7", "Happiness"]);
    let data = Dataset::open_with(affect.path(), &config(Classes::Affectnet)).unwrap();
    assert_eq!(names(&data), ["neutral", "contempt", "happy"]);
}

#[test]
fn a_table_may_name_its_labels() {
    let text = "label,pixels\nsad,1 2 3 4\nHappiness,4 3 2 1\n6,0 0 0 0\n";
    assert_eq!(names(&Dataset::open(table(text).path()).unwrap()), ["sad", "happy", "neutral"]);
    let text = "pixels,label\n1 2 3 4,\"b, c\"\n4 3 2 1,a\n0 0 0 0,\"b, c\"\n";
    let data = Dataset::open_with(table(text).path(), &config(Classes::AsFound)).unwrap();
    assert_eq!((data.labels(), data.encoder().names()), (Some(&[1, 0, 1][..]), vec!["a", "b, c"]));
    let named = config("bird,cat".parse().unwrap());
    let data = Dataset::open_with(table("label,pixels\n1,1\nbird,2\n").path(), &named).unwrap();
    assert_eq!(names(&data), ["cat", "bird"]);
    let error = Dataset::open_with(table("label,pixels\n2,1\n").path(), &named).unwrap_err().to_string();
    assert!(error.ends_with("line 2: emotion is `2`; allowed: 0 to 1, or bird, cat"), "{error}");
    let many: String = (0..300).map(|i| format!("{i},1\n")).collect();
    let many = table(&format!("label,pixels\n{many}"));
    let error = Dataset::open_with(many.path(), &config(Classes::AsFound)).unwrap_err().to_string();
    assert!(error.contains("line 258: emotion is `256`; allowed: at most 256 names"), "{error}");
}

#[test]
fn data_in_memory_has_the_names_that_it_is_given() {
    let images = || Array3::zeros((40, 4, 4));
    let labels: Vec<u32> = (0..40).map(|i| i % 10).collect();
    let ten = Dataset::new(images(), Some(labels.clone()), None).unwrap();
    assert_eq!(ten.encoder().names()[9], "class_9");
    let birds: Vec<String> = (0..10).map(|i| format!("bird {i}")).collect();
    let birds = ten.clone().named(birds).unwrap();
    let chosen = birds.select(&[2, 9]).unwrap();
    assert_eq!((chosen.len(), chosen.encoder().names()), (8, vec!["bird 2", "bird 9"]));
    assert_eq!(birds.class_counts()[9].name, "bird 9");
    let subsets = birds.split(Split::stratified(0.25)).unwrap();
    assert_eq!(subsets.valid.encoder().names().len(), 10);
    let error = ten.named(["a", "b"]).unwrap_err().to_string();
    assert_eq!(error, "label is 2; allowed: 0 to 1");
    let error = Dataset::new(images(), Some(vec![256; 40]), None).unwrap_err().to_string();
    assert_eq!(error, "labels is 256; allowed: 0 to 255");
    let error = Dataset::new(images(), None, None).unwrap().named(["a"]).unwrap_err().to_string();
    assert_eq!(error, "memory: no labels that can be named");
    let encoder = LabelEncoder::all_of(&Vocabulary::jaffe());
    assert_eq!((encoder.len(), encoder.name(4)), (7, Some("neutral")));
}

#[test]
fn classes_and_sizes_are_settings_of_a_file() {
    let size = Some("48".parse().unwrap());
    let config = ReadConfig { size, classes: Classes::CkPlus, colour: true, allow_truncated: true };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(json, r#"{"classes":"ck_plus","size":"48","colour":true,"allow_truncated":true}"#);
    // As a number, and as it was named once.
    let named_before = r#"{"classes":"ck_plus","side":48,"colour":true,"allow_truncated":true}"#;
    assert_eq!(serde_json::from_str::<ReadConfig>(named_before).unwrap(), config);
    assert_eq!(serde_json::from_str::<ReadConfig>(&json).unwrap(), config);
    assert_eq!(serde_json::from_str::<ReadConfig>("{}").unwrap(), ReadConfig::default());
    let named = r#"{"classes":{"named":["bird","cat"]}}"#;
    let named = serde_json::from_str::<ReadConfig>(named).unwrap();
    assert_eq!(named.classes, Classes::Named(vec!["bird".into(), "cat".into()]));
    assert!(Dataset::open_with(Path::new("nothing"), &named).is_err());
}
