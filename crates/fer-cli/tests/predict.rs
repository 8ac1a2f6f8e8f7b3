//! `fer predict` as a person runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn photos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fer-detect/tests/photos")
}

fn predict(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fer")).arg("predict").args(arguments).args(paths).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_folder_is_answered_picture_by_picture() {
    let output = predict(&["--json"], &[&photos()]);
    assert!(output.status.success(), "{}", err(&output));
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let faces: Vec<usize> = lines.iter().map(|line| line["faces"].as_array().unwrap().len()).collect();
    assert_eq!(faces, [1, 1, 0, 0, 0]);
    let face = &lines[0]["faces"][0];
    assert_eq!(face["label"], "happy");
    assert_eq!(face["box"].as_array().unwrap().len(), 4);
    assert!(face["score"].as_f64().unwrap() > 0.7);
    let probabilities = face["probabilities"].as_object().unwrap();
    let names: Vec<&str> = probabilities.keys().map(String::as_str).collect();
    assert_eq!(names.len(), 8);
    let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    assert!(err(&output).contains("1 files in folders were left out"), "{}", err(&output));
}

#[test]
fn bad_input_is_named_and_the_rest_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let dot = folder.path().join("dot.png");
    image::RgbImage::new(1, 1).save(&dot).unwrap();
    let (text, missing) = (file("notes.png", b"no picture"), folder.path().join("missing.jpg"));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let good = photos().join("astronaut.png");
    let all: [&Path; 5] = [&dot, &text, &missing, &empty, &good];

    let output = predict(&[], &all);
    assert_eq!(output.status.code(), Some(1));
    let errors = err(&output);
    for named in ["notes.png", "missing.jpg", "no pictures in this folder"] {
        assert!(errors.contains(named), "{named}: {errors}");
    }
    assert!(out(&output).contains("dot.png: no face") && out(&output).contains("1 face"), "{}", out(&output));

    let table = predict(&["--csv"], &all);
    assert_eq!(table.status.code(), Some(1));
    let mut rows = csv::Reader::from_reader(&table.stdout[..]);
    let header = rows.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|found| found == name).unwrap();
    let records: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 5, "three errors, a face and a picture without one");
    let empty = |row: &csv::StringRecord| row.iter().skip(1).all(str::is_empty);
    assert!(records.iter().any(|row| row[0].ends_with("dot.png") && empty(row)));
    assert!(records.iter().any(|row| row[column("label")] == *"happy" && row[column("error")].is_empty()));
    assert!(
        records
            .iter()
            .any(|row| row[column("error")].contains("notes.png") && row[column("label")].is_empty())
    );
}

#[test]
fn drawn_pictures_are_written_and_a_folder_that_cannot_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("drawn");
    let photo = photos().join("astronaut.png");
    let output = predict(&["--draw", drawn.to_str().unwrap()], &[&photo, &photo]);
    assert!(output.status.success(), "{}", err(&output));
    for name in ["astronaut.faces.png", "astronaut.faces-2.png"] {
        assert_ne!(image::open(drawn.join(name)).unwrap(), image::open(&photo).unwrap());
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let under_a_file = folder.path().join("file/below");
    let refused = predict(&["--draw", under_a_file.to_str().unwrap()], &[&photo]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("file/below"), "{}", err(&refused));
}

#[test]
fn a_face_that_fills_its_picture_needs_no_detector() {
    let folder = tempfile::tempdir().unwrap();
    let face = folder.path().join("face.png");
    image::open(photos().join("astronaut.png")).unwrap().crop_imm(165, 50, 115, 140).save(&face).unwrap();
    let output = predict(&["--no-detect", "--json"], &[&face]);
    let line: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(line["faces"][0]["box"], serde_json::json!([0.0, 0.0, 115.0, 140.0]));
    assert_eq!(line["faces"][0]["label"], "happy");
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let command =
        format!("'{}' predict --json '{}' | head -n 1", env!("CARGO_BIN_EXE_fer"), photos().display());
    let output =
        Command::new("bash").args(["-o", "pipefail", "-c", &command]).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    assert!(output.status.success() && !err(&output).contains("panicked"), "{}", err(&output));
    assert_eq!(out(&output).lines().count(), 1);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [&["predict"][..], &["predict", "--json", "--csv", "x.png"], &["guess"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_fer")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
    let wrong = predict(&["--threshold", "2"], &[&photos()]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("threshold is 2"), "{}", err(&wrong));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_fer")).args(arguments).output().unwrap();
        for command in ["predict", "video", "camera"] {
            assert!(out(&output).contains(command), "{arguments:?} {command}");
        }
    }
}
