//! `fer explain` as a person runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fer-detect/tests/photos").join(name)
}

fn explain(photo: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fer"));
    command.arg("explain").arg(photo).arg("--out").arg(out).args(more).output().unwrap()
}

fn texts(output: Output) -> [String; 2] {
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn a_smile_speaks_for_happy_by_gradient_and_by_covering() {
    let folder = tempfile::tempdir().unwrap();
    let astronaut = image::open(photo("astronaut.png")).unwrap().to_rgb8();
    for (name, flags) in [("cam.png", &[][..]), ("covered.png", &["--occlusion"])] {
        let out = folder.path().join(name);
        let [said, wrong] = texts(explain(&photo("astronaut.png"), &out, flags));
        assert_eq!(wrong, "");
        let mut numbers = said.split_whitespace().filter_map(|word| word.parse::<f32>().ok());
        assert!(said.starts_with("happy "), "{said}");
        let (_, left, top) = (numbers.next(), numbers.next().unwrap(), numbers.next().unwrap());
        assert!((30.0..70.0).contains(&left) && (60.0..90.0).contains(&top), "the mouth: {said}");
        let drawn = image::open(out).unwrap().to_rgb8();
        // The mouth is redder than it was, what lies far from the face as it was.
        let red =
            |picture: &image::RgbImage, x, y| i32::from(picture[(x, y)][0]) - i32::from(picture[(x, y)][1]);
        assert!(red(&drawn, 226, 142) > red(&astronaut, 226, 142) + 20, "{name}");
        assert_eq!(drawn[(20, 400)], astronaut[(20, 400)]);
    }
}

#[test]
fn another_label_another_layer_and_a_whole_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sad.png");
    let [said, wrong] = texts(explain(
        &photo("astronaut.png"),
        &out,
        &["--label", "sad", "--layer", "conv2d_6", "--no-detect"],
    ));
    assert!(said.starts_with("sad ") && wrong.is_empty(), "{said}{wrong}");
    assert!(out.exists());
}

#[test]
fn what_cannot_be_explained_is_said_and_nothing_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.png");
    let error = |more: &[&str]| {
        let output = explain(&photo("astronaut.png"), &out, more);
        assert_eq!(output.status.code(), Some(1));
        texts(output)[1].clone()
    };
    assert!(error(&["--label", "bored"]).contains("label is bored, allowed: anger, "));
    assert!(error(&["--layer", "conv9"]).contains("no layer `conv9`; there are conv2d_1, "));
    std::fs::write(&out, "kept").unwrap();
    assert!(error(&[]).contains("out.png is there already; --overwrite replaces it"));
    assert_eq!(std::fs::read(&out).unwrap(), b"kept");

    let [said, _] = texts(explain(&photo("coffee.png"), &out, &["--overwrite"]));
    assert!(said.contains("coffee.png: no face"), "{said}");
    assert_eq!(image::open(&out).unwrap().to_rgb8(), image::open(photo("coffee.png")).unwrap().to_rgb8());
}
