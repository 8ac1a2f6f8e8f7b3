//! The examples as a user runs them, on drawn faces.

mod data;
mod models;
mod outputs;
mod training;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fer_data::Dataset;
use fer_metrics::History;

/// Small enough for a debug build to train in seconds.
const SETTINGS: &str = r#"
batch_size = 16
[augment]
rotation_range = 5.0
[model]
dense_units = 8
[[model.blocks]]
filters = 4
kernel = 5
dropout = 0.1
[[model.blocks]]
filters = 6
kernel = 3
dropout = 0.2
"#;

/// An example's program, which `cargo test` builds beside the tests.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    let program = target.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: run `cargo test` without --test", program.display());
    Command::new(program)
}

fn run(command: &mut Command) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), status.code())
}

/// Runs a command that must succeed, and gives what it printed.
fn printed(command: &mut Command) -> String {
    let (stdout, stderr, code) = run(command);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    stdout
}

/// `n` drawn faces as fer2013.csv has them.
fn write_csv(path: &Path, n: usize) {
    let data = Dataset::drawn(n, 7);
    let mut csv = String::from("emotion,pixels,Usage\n");
    for i in 0..n {
        let usage = ["Training", "Training", "Training", "PublicTest", "PrivateTest"][i % 5];
        let pixels: Vec<String> = data.image(i).iter().map(u8::to_string).collect();
        writeln!(csv, "{},{},{usage}", data.label(i).unwrap(), pixels.join(" ")).unwrap();
    }
    fs::write(path, csv).unwrap();
}

/// What a report shows.
fn page_data(html: &str) -> serde_json::Value {
    let (_, data) = html.split_once(r#"<script id="data" type="application/json">"#).unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

fn train(settings: &Path, out: &Path, epochs: &str) -> Command {
    let mut command = example("train_dcnn");
    command.arg("--config").arg(settings).arg("--out").arg(out).args(["--epochs", epochs, "--threads", "2"]);
    command
}

#[test]
fn the_tour_of_the_libraries_finds_what_it_says() {
    let text = printed(&mut example("tour"));
    assert!(text.contains("interrupted in between") && text.contains("area under the ROC curve"), "{text}");
}

#[test]
fn a_run_leaves_its_folder_and_the_other_examples_work_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(path("settings.toml"), SETTINGS).unwrap();
    write_csv(&path("faces.csv"), 300);
    let (data, model) = (path("faces.csv"), path("run"));

    let usage = |command: &mut Command| {
        command.arg("--data").arg(&data).args(["--split", "usage"]);
    };
    let mut training = train(&path("settings.toml"), &model, "2");
    usage(&mut training);
    let text = printed(&mut training);
    for part in ["Model: \"DCNN\"", "total wrong validation predictions: ", "weighted avg", "test\n"] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }
    for name in [
        "model.safetensors",
        "model.toml",
        "history.csv",
        "split.csv",
        "predictions.csv",
        "classification_report.txt",
        "test_report.txt",
        "run.json",
        "report.html",
        "epoch_history_dcnn.svg",
        "epoch_history_dcnn.png",
        "performance_dist.svg",
        "performance_dist.png",
        "confusion_matrix_dcnn.svg",
        "confusion_matrix_dcnn.png",
        "sample_predictions.svg",
        "sample_predictions.png",
        "training_page.svg",
        "training_page.png",
        "checkpoint/state.safetensors",
    ] {
        assert!(model.join(name).exists(), "no {name}");
    }
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(model.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["split"]["train"], 180);
    assert_eq!(record["source"]["md5"].as_str().unwrap().len(), 32);
    assert_eq!(record["result"]["epochs"], 2);
    let html = fs::read_to_string(model.join("report.html")).unwrap();
    let page = page_data(&html);
    assert_eq!(page["evaluations"][0]["accuracy"], record["result"]["valid_accuracy"]);
    assert_eq!(page["evaluations"][1]["leak_free"], record["result"]["leak_free_test_accuracy"]);
    assert_eq!(page["history"].as_array().unwrap().len(), 2);
    let settings: serde_json::Value = serde_json::from_str(page["settings"].as_str().unwrap()).unwrap();
    assert_eq!(settings, record["settings"]);
    assert!(page["again"].as_str().unwrap().contains("train_dcnn"), "{}", page["again"]);
    assert!(!html.contains("http-equiv") && !html.contains("data:image"), "it has ended, and shows no face");

    // The same run again is refused, and loses nothing.
    let before = fs::read(model.join("model.safetensors")).unwrap();
    let (_, stderr, code) = run(&mut train(&path("settings.toml"), &model, "2"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("already holds a run"), "{stderr}");
    assert_eq!(before, fs::read(model.join("model.safetensors")).unwrap());

    // The predictions of the run give the report of the run.
    let report = fs::read_to_string(model.join("classification_report.txt")).unwrap();
    let table = report.split("\n\n60 rows").next().unwrap();
    let text = printed(example("evaluate").arg("--predictions").arg(model.join("predictions.csv")));
    assert!(text.starts_with(table.trim_end()), "{text}\n{table}");

    // So does the model, asked again for the same rows.
    let mut evaluate = example("evaluate");
    evaluate.arg("--model").arg(&model).arg("--data").arg(&data).args(["--usage", "PublicTest"]);
    evaluate.arg("--out").arg(path("evaluation"));
    let text = printed(&mut evaluate);
    // The notebook's report has the classes' numbers, this one their names; all else is the same.
    let scores = |text: &str| -> Vec<Vec<String>> {
        let last = |line: &str| line.split_whitespace().rev().take(4).map(str::to_owned).collect();
        text.lines().map(last).collect()
    };
    let (found, wanted) = (scores(&text), scores(table.trim_end()));
    assert!(found.windows(wanted.len()).any(|lines| lines == wanted), "{text}\n{table}");
    assert!(text.contains("       happy  "), "{text}");
    assert!(text.contains("majority-class baseline") && text.contains("have a copy in training"), "{text}");
    assert!(path("evaluation/confusion_matrix.svg").exists());

    // One answer an image, in order, whatever becomes of the others.
    let face = Dataset::drawn(1, 1);
    face.picture(0).save(path("face.png")).unwrap();
    fs::write(path("broken.png"), b"not an image").unwrap();
    let mut predict = example("predict");
    predict.arg("--model").arg(&model).args([path("face.png"), path("broken.png"), path("face.png")]);
    let (stdout, _, code) = run(&mut predict);
    assert_eq!(code, Some(1));
    let answers: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let probabilities = &answers[0]["probabilities"];
    let sum: f64 =
        ["happy", "sad", "neutral"].iter().map(|name| probabilities[*name].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{stdout}");
    assert!(answers[1]["error"].as_str().unwrap().contains("no picture"), "{stdout}");
    assert_eq!(answers[0], answers[2]);
    assert!(stdout.find("\"happy\":") < stdout.find("\"sad\":"), "{stdout}");
}

#[test]
fn the_environment_asks_for_more_or_less_to_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("faces.csv");
    write_csv(&data, 60);
    let split = folder.path().join("split.csv");
    let said = |asked: &str| {
        let _ = fs::remove_file(&split);
        let mut command = example("split_dataset");
        command.arg("--data").arg(&data).args(["--labels", "3,4"]).arg("--out").arg(&split);
        let (_, stderr, code) = run(command.env("RUST_LOG", asked));
        assert_eq!(code, Some(0), "{stderr}");
        stderr
    };
    for asked in ["", "warn", "fer_nn=debug,warn"] {
        assert_eq!(said(asked), "", "{asked}");
    }
    let told = said("fer_data=info");
    assert!(told.contains("INFO") && told.contains("faces.csv"), "{told}");
    let told = said("fer_data=loud");
    assert!(told.contains("WARN RUST_LOG: ") && told.contains("fer_nn=debug,warn"), "{told}");
}

#[test]
fn mistakes_are_told_by_status_and_message() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (_, stderr, code) = run(example("train_dcnn").args(["--epoch", "3"]));
    assert_eq!(code, Some(2), "{stderr}");
    let (_, stderr, code) = run(example("train_dcnn").args(["--device", "cuda:99", "--out"]).arg(&out));
    let reason = if cfg!(feature = "cuda") {
        "error: cuda:99: "
    } else {
        "cuda:99: this program was built without CUDA"
    };
    assert_eq!((code, stderr.contains(reason)), (Some(1), true), "{stderr}");
    let (_, stderr, code) = run(example("train_dcnn").args(["--data", "missing.csv", "--out"]).arg(&out));
    assert_eq!((code, stderr.contains("missing.csv")), (Some(1), true), "{stderr}");
    let settings = folder.path().join("settings.toml");
    fs::write(&settings, "[augment]\nrotation = 3\n").unwrap();
    let (_, stderr, code) = run(&mut train(&settings, &out, "1"));
    assert_eq!((code, stderr.contains("unknown field `rotation`")), (Some(1), true), "{stderr}");
    let predictions = folder.path().join("predictions.csv");
    fs::write(&predictions, "label,guess\n1,1\n").unwrap();
    let (_, stderr, code) = run(example("evaluate").arg("--predictions").arg(&predictions));
    assert_eq!((code, stderr.contains("no column 'predicted'")), (Some(1), true), "{stderr}");
}
