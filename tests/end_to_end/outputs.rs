//! Closed and full outputs, interruptions, and folders that hold something.

use super::*;

/// Runs a command that nobody listens to: both of its outputs are closed.
fn unheard(command: &mut Command) -> Option<i32> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().unwrap().code()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

const EVALUATION: [&str; 13] = [
    "classification_report.txt",
    "confusion_matrix.png",
    "confusion_matrix.svg",
    "explained_faces.png",
    "explained_faces.svg",
    "precision_recall_curves.png",
    "precision_recall_curves.svg",
    "predictions.csv",
    "reliability.png",
    "reliability.svg",
    "report.html",
    "roc_curves.png",
    "roc_curves.svg",
];

#[test]
fn a_closed_output_costs_no_result_and_results_are_not_overwritten_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("settings.toml"), SETTINGS).unwrap();
    fs::write(path("drawn.toml"), format!("drawn_faces = 200\n{SETTINGS}")).unwrap();
    write_csv(&path("faces.csv"), 300);
    let (data, model) = (path("faces.csv"), path("run"));

    let training = || {
        let mut command = train(&path("settings.toml"), &model, "1");
        command.arg("--data").arg(&data).args(["--split", "usage"]);
        command
    };
    assert_eq!(unheard(&mut training()), Some(0));
    for name in ["model.toml", "history.csv", "predictions.csv", "test_report.txt", "sample_predictions.png"]
    {
        assert!(model.join(name).exists(), "no {name}");
    }
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(model.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["result"]["epochs"], 1);

    let evaluate = |out: &str| {
        let mut command = example("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(&data).args(["--usage", "PublicTest"]);
        command.arg("--out").arg(path(out));
        command
    };
    assert_eq!(unheard(&mut evaluate("evaluation")), Some(0));
    assert_eq!(files(&path("evaluation")), EVALUATION);
    let look = path("look");
    assert_eq!(unheard(example("explore_dataset").arg("--data").arg(&data).arg("--out").arg(&look)), Some(0));
    assert_eq!(files(&look).len(), 5);
    let split = path("split.csv");
    assert_eq!(unheard(example("split_dataset").arg("--data").arg(&data).arg("--out").arg(&split)), Some(0));
    assert!(split.exists());

    // A full disk is told, after everything is written.
    #[cfg(target_os = "linux")]
    {
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for (mut command, file) in [
            (evaluate("full"), path("full/predictions.csv")),
            (train(&path("drawn.toml"), &path("full-run"), "1"), path("full-run/predictions.csv")),
        ] {
            let Output { status, stderr, .. } = command.stdout(full()).output().unwrap();
            let stderr = String::from_utf8(stderr).unwrap();
            assert_eq!(status.code(), Some(1), "{stderr}");
            assert!(stderr.contains("error: the output cannot be written: "), "{stderr}");
            assert!(file.exists(), "no {}", file.display());
        }
    }

    // What an earlier command left is kept unless it may be overwritten.
    fs::write(path("evaluation/notes.txt"), "mine").unwrap();
    fs::write(path("evaluation/predictions.csv"), "earlier").unwrap();
    let before = files(&model);
    for out in ["evaluation", "run"] {
        let (_, stderr, code) = run(&mut evaluate(out));
        assert_eq!((code, stderr.contains("already holds a run or results")), (Some(1), true), "{stderr}");
        assert!(stderr.contains("--overwrite"), "{stderr}");
    }
    assert_eq!(fs::read_to_string(path("evaluation/predictions.csv")).unwrap(), "earlier");
    printed(evaluate("evaluation").arg("--overwrite"));
    assert!(fs::read_to_string(path("evaluation/predictions.csv")).unwrap().starts_with("row,label"));
    assert!(path("evaluation/notes.txt").exists());
    printed(evaluate("run").arg("--overwrite"));
    assert!(before.iter().all(|name| model.join(name).exists()), "an evaluation deleted a part of the run");
    let (_, stderr, code) = run(train(&path("drawn.toml"), &path("evaluation"), "1").arg("--overwrite"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(path("evaluation/notes.txt").exists() && !path("evaluation/confusion_matrix.svg").exists());
}

#[cfg(feature = "keras")]
#[test]
fn an_import_does_not_mix_with_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let h5 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keras_h5/keras2_model.h5");
    let import = || {
        let mut command = example("import_keras");
        command.arg("--h5").arg(&h5).arg("--out").arg(path("model"));
        command
    };
    assert_eq!(unheard(&mut import()), Some(0));
    assert_eq!(files(&path("model")), ["model.safetensors", "model.toml"]);

    fs::write(path("model/run.json"), "{}").unwrap();
    fs::write(path("model/notes.txt"), "mine").unwrap();
    let (_, stderr, code) = run(&mut import());
    assert_eq!((code, stderr.contains("already holds a run or results")), (Some(1), true), "{stderr}");
    assert!(path("model/run.json").exists());
    printed(import().arg("--overwrite"));
    assert_eq!(files(&path("model")), ["model.safetensors", "model.toml", "notes.txt"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("settings.toml"), format!("drawn_faces = 400\n{SETTINGS}")).unwrap();
    let mut command = train(&path("settings.toml"), &path("run"), "1000");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !path("run/history.csv").exists() && started.elapsed() < Duration::from_secs(120) {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(130), "{stderr}");
    let hint = format!(
        "go on with: cargo run --release --example train_dcnn -- --resume --out {}\n",
        path("run").display()
    );
    assert!(stderr.ends_with(&hint), "{stderr}");
    assert!(path("run/checkpoint/state.safetensors").exists());
}
