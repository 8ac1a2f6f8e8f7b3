//! `fer export` as a person runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn fer(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fer")).args(arguments).current_dir(folder).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_model_of_the_program_is_written_for_onnx_and_hugging_face() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("card.md"), "# Faces\n").unwrap();
    let arguments = ["export", "--onnx", "model.onnx", "--preprocessing", "--hugging-face", "hub"];
    let more = ["--card", "card.md", "--license", "mit"];
    let output = fer(&[&arguments[..], &more[..]].concat(), folder.path());
    assert!(output.status.success(), "{}", err(&output));
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        said.starts_with("model.onnx: images uint8 (N, 48, 48), grey; probabilities of anger, "),
        "{said}"
    );
    assert!(fs::metadata(folder.path().join("model.onnx")).unwrap().len() > 18_000_000);

    let hub = folder.path().join("hub");
    let config: Value = serde_json::from_str(&fs::read_to_string(hub.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"]["3"], "happy");
    assert_eq!((&config["image_size"][0], &config["num_channels"]), (&48.into(), &1.into()));
    let readme = fs::read_to_string(hub.join("README.md")).unwrap();
    assert!(
        readme.starts_with("---\nlibrary_name: fer\nlicense: mit\n") && readme.ends_with("---\n\n# Faces\n")
    );
    // The folder is a model of this program too.
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fer-detect/tests/photos/astronaut.png");
    let photo = photo.to_str().unwrap();
    let [own, exported] =
        [&["predict", photo][..], &["predict", photo, "--model", "hub"]].map(|args| fer(args, folder.path()));
    assert_eq!(own.stdout, exported.stdout);
}

/// A table of FER2013's form, of so many faces of each usage.
fn table(training: usize, test: usize) -> String {
    let mut csv = "emotion,pixels,Usage\n".to_owned();
    for face in 0..training + test {
        let usage = if face < training { "Training" } else { "PublicTest" };
        let pixels: Vec<String> = (0..48 * 48).map(|i| ((i * i + face * 31) % 253).to_string()).collect();
        csv += &format!("{},{},{usage}\n", face % 7, pixels.join(" "));
    }
    csv
}

#[test]
fn eight_bits_are_measured_on_faces_that_the_ranges_did_not_come_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("faces.csv"), table(8, 7)).unwrap();
    let output = fer(&["export", "--onnx", "model.onnx", "--quantize", "faces.csv"], folder.path());
    assert!(output.status.success(), "{}", err(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("faces.csv, md5 ") && lines[1] == "ranges of 8 faces", "{said}");
    assert!(lines[2].starts_with("accuracy on 7 PublicTest faces: 0."), "{said}");
    assert!(lines[2].contains(" in 8 bits, 0.") && lines[2].ends_with(" in 32 bits"), "{said}");
    assert!(lines[3].ends_with(" MB in 8 bits, 18.8 MB in 32"), "{said}");
    let file = fs::read(folder.path().join("model.onnx")).unwrap();
    assert!((4_500_000..5_000_000).contains(&file.len()), "{}", file.len());
    for part in ["QuantizeLinear", "accuracy_PublicTest", "8 bits, ranges of 8 images"] {
        assert!(file.windows(part.len()).any(|bytes| bytes == part.as_bytes()), "{part}");
    }
}

#[test]
fn data_that_no_ranges_come_of_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("faces.csv"), table(2, 1)).unwrap();
    let error = |arguments: &[&str]| {
        let output = fer(&[&["export", "--onnx", "model.onnx"], arguments].concat(), folder.path());
        assert!(!output.status.success());
        err(&output)
    };
    let small = error(&["--quantize", "faces.csv", "--size", "24"]);
    assert!(small.contains("the images are 24×24 grey, the model takes 48×48 grey"), "{small}");
    let pets = error(&["--quantize", "faces.csv", "--classes", "a,b,c,d,e,f,g"]);
    assert!(pets.contains("no face of the model's classes, anger, disgust"), "{pets}");
    assert!(error(&["--ferplus", "votes.csv"]).contains("--quantize"));
    assert!(!folder.path().join("model.onnx").exists());
}

#[test]
fn what_cannot_be_written_is_said_and_nothing_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let error = |arguments: &[&str]| {
        let output = fer(&[&["export"], arguments].concat(), folder.path());
        assert_eq!(output.status.code(), Some(1));
        err(&output)
    };
    assert!(error(&[]).contains("give --onnx, --keras or --hugging-face"));
    assert!(error(&["--keras", "model.h5"]).contains("the network is `vgg`; only the notebook's, `dcnn`"));
    fs::write(folder.path().join("model.onnx"), "kept").unwrap();
    assert!(
        error(&["--onnx", "model.onnx"]).contains("model.onnx is there already; --overwrite replaces it")
    );
    assert_eq!(fs::read(folder.path().join("model.onnx")).unwrap(), b"kept");
    assert!(!folder.path().join("model.h5").exists());
}
