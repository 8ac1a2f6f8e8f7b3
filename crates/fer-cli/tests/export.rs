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
