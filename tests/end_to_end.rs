//! The examples as a user runs them, on drawn faces.

#[path = "end_to_end/outputs.rs"]
mod outputs;

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

fn without_seconds(run: &Path) -> History {
    let mut history = History::from_csv(&fs::read_to_string(run.join("history.csv")).unwrap()).unwrap();
    history.epochs.iter_mut().for_each(|epoch| epoch.seconds = 0.0);
    history
}

/// Trains once without a pause, and once killed in the second epoch and resumed, and compares what the two leave.
fn assert_resumed_to_the_bit(folder: &Path, train: impl Fn(&Path) -> Command) {
    let (whole, killed) = (folder.join("whole"), folder.join("killed"));
    printed(&mut train(&whole));

    let mut child = train(&killed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let epochs = || fs::read_to_string(killed.join("history.csv")).map_or(0, |text| text.lines().count());
    while epochs() < 2 && started.elapsed() < Duration::from_secs(120) {
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("model.safetensors").exists(), "the run ended before it was killed");

    printed(example("train_dcnn").arg("--resume").arg("--out").arg(&killed));
    let weights = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&killed), "the weights differ");
    assert_eq!(without_seconds(&whole), without_seconds(&killed));
    for name in ["predictions.csv", "split.csv", "classification_report.txt", "confusion_matrix_dcnn.svg"] {
        assert_eq!(fs::read(whole.join(name)).unwrap(), fs::read(killed.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_weights_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    fs::write(&settings, format!("drawn_faces = 400\n{SETTINGS}")).unwrap();
    assert_resumed_to_the_bit(folder.path(), |out| train(&settings, out, "4"));
}

/// Votes of ten people on the drawn faces: most for the label, some for another emotion, some for nothing.
fn write_votes(path: &Path, n: usize) {
    let data = Dataset::drawn(n, 7);
    let columns = [
        "anger",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
        "neutral",
        "contempt",
        "unknown",
        "NF",
    ];
    let mut csv = format!("Usage,Image name,{}\n", columns.join(","));
    for i in 0..n {
        let usage = ["Training", "Training", "Training", "PublicTest", "PrivateTest"][i % 5];
        let mut votes = [0; 10];
        votes[data.label(i).unwrap() as usize] += if i % 7 == 0 { 5 } else { 7 };
        votes[i % 10] += if i % 7 == 0 { 5 } else { 3 };
        writeln!(csv, "{usage},,{}", votes.map(|v| v.to_string()).join(",")).unwrap();
    }
    fs::write(path, csv).unwrap();
}

#[test]
fn the_recipe_of_votes_runs_and_is_resumed_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (data, votes) = (folder.path().join("faces.csv"), folder.path().join("votes.csv"));
    write_csv(&data, 400);
    write_votes(&votes, 400);
    // The recipe, for a network and batches that a debug build trains in seconds.
    let recipe =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/ferplus.toml")).unwrap();
    let narrow =
        recipe.replace("[64, 128, 256, 512]", "[4, 6, 8, 8]").replace("batch_size = 128", "batch_size = 16");
    assert_ne!(narrow, recipe);
    let settings = folder.path().join("recipe.toml");
    fs::write(&settings, narrow).unwrap();
    assert_resumed_to_the_bit(folder.path(), |out| {
        let mut command = train(&settings, out, "5");
        command.arg("--data").arg(&data).arg("--ferplus").arg(&votes);
        command
    });

    let run_folder = folder.path().join("whole");
    let toml = fs::read_to_string(run_folder.join("model.toml")).unwrap();
    assert!(toml.contains("[vgg]") && toml.contains("contempt") && toml.contains("mean = 0.5077"), "{toml}");
    let report = fs::read_to_string(run_folder.join("test_report.txt")).unwrap();
    assert!(
        report.contains("10 views of each image (as it is, shifted by 3 pixels, each mirrored)"),
        "{report}"
    );
    let evaluate = || {
        let mut command = example("evaluate");
        command.arg("--model").arg(&run_folder).arg("--data").arg(&data).arg("--ferplus").arg(&votes);
        command
    };
    let more = "--ferplus-targets votes --usage PrivateTest --views mirror";
    let evaluated = printed(evaluate().args(more.split(' ')));
    assert!(evaluated.starts_with(&format!("{}, md5 ", data.display())), "{evaluated}");
    assert!(evaluated.contains("2 views of each image (as it is, mirrored)"), "{evaluated}");
    let (_, refused, _) = run(&mut evaluate());
    assert!(refused.contains("'contempt' is none of the data's; give --ferplus-targets"), "{refused}");
}

#[test]
fn every_recipe_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("faces.csv");
    write_csv(&data, 60);
    for (recipe, wanted) in [
        ("notebook", "Model: \"DCNN\""),
        // Sixty faces are no full batch: the settings were read, the training cannot begin.
        ("fer2013", "batch_size"),
        ("ferplus", "give them by --ferplus"),
        ("ferplus-short", "give them by --ferplus"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{recipe}.toml"));
        let out = folder.path().join(recipe);
        let mut command = train(&file, &out, "1");
        command.arg("--data").arg(&data).args(["--device", "cpu", "--batch-size", "128"]);
        let (stdout, stderr, _) = run(&mut command);
        assert!(stdout.contains(wanted) || stderr.contains(wanted), "{recipe}: {stdout}\n{stderr}");
    }
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
fn a_dataset_is_explored_and_split() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("faces.csv");
    write_csv(&data, 200);
    let out = folder.path().join("look");
    let text = printed(example("explore_dataset").arg("--data").arg(&data).arg("--out").arg(&out));
    assert!(text.contains("200 distinct images, 0 redundant rows"), "{text}");
    for name in ["audit.json", "class_counts.svg", "class_counts.png", "sample_grid.svg", "sample_grid.png"] {
        assert!(out.join(name).exists(), "no {name}");
    }
    let split = folder.path().join("split.csv");
    let mut command = example("split_dataset");
    command
        .arg("--data")
        .arg(&data)
        .args(["--labels", "3,4", "--test-size", "0.25"])
        .arg("--out")
        .arg(&split);
    printed(&mut command);
    let lines = fs::read_to_string(&split).unwrap();
    assert!(lines.starts_with("row,subset\n"));
    let valid = lines.lines().filter(|line| line.ends_with(",valid")).count();
    let rows = Dataset::open(&data).unwrap().select(&[3, 4]).unwrap().len();
    assert_eq!(valid, rows.div_ceil(4));
}

#[test]
fn folders_of_any_classes_and_sizes_are_trained_on_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let data = Dataset::drawn(120, 3);
    for i in 0..data.len() {
        let class = ["smiles", "frowns", "neither, nor"]
            [[3, 4, 6].iter().position(|l| Some(*l) == data.label(i)).unwrap()];
        let path = folder.path().join("faces").join(class);
        fs::create_dir_all(&path).unwrap();
        // Larger, and no squares.
        let face = data.picture(i).resize_exact(80, 64 + i as u32, image::imageops::FilterType::Triangle);
        let mut face = face.into_rgb8();
        face.pixels_mut().for_each(|pixel| pixel.0[2] /= 2);
        face.save(path.join(format!("{i}.{}", ["png", "bmp", "webp", "tiff"][i % 4]))).unwrap();
    }
    let (faces, out) = (folder.path().join("faces"), folder.path().join("run"));
    let settings = folder.path().join("settings.toml");
    fs::write(&settings, SETTINGS).unwrap();
    let read = ["--classes", "as_found", "--size", "24"];
    let text = printed(train(&settings, &out, "1").arg("--data").arg(&faces).args(read));
    assert!(text.contains("{0: 0, 1: 1, 2: 2}") && text.contains("(120, 24, 24, 1)"), "{text}");
    let model = fs::read_to_string(out.join("model.toml")).unwrap();
    assert!(model.contains(r#"labels = ["frowns", "neither, nor", "smiles"]"#), "{model}");
    let predictions = fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert!(predictions.starts_with("row,label,predicted,frowns,\"neither, nor\",smiles\n"), "{predictions}");
    // A recipe that names the classes says the same as the flags.
    let by_recipe = folder.path().join("by_recipe");
    fs::write(&settings, format!("{SETTINGS}[read]\nclasses = \"as_found\"\nsize = 24\n")).unwrap();
    printed(train(&settings, &by_recipe, "1").arg("--data").arg(&faces));
    assert_eq!(fs::read_to_string(by_recipe.join("model.toml")).unwrap(), model);
    // In colour, wider than high: trained on, evaluated without a word on it, and seen the same in a single file.
    let (colour, evaluation) = (folder.path().join("colour"), folder.path().join("evaluation"));
    let sized = ["--classes", "as_found", "--size", "24x16"];
    let text = printed(train(&settings, &colour, "1").arg("--data").arg(&faces).args(sized).arg("--colour"));
    assert!(text.contains("(120, 16, 24, 3)"), "{text}");
    let mut evaluate = example("evaluate");
    evaluate.arg("--model").arg(&colour).arg("--data").arg(&faces).arg("--out").arg(&evaluation);
    printed(evaluate.args(sized).arg("--split").arg(colour.join("split.csv")));
    let [of_run, of_evaluation] =
        [&colour, &evaluation].map(|folder| fs::read_to_string(folder.join("predictions.csv")).unwrap());
    assert_eq!((of_run.lines().count(), &of_run), (13, &of_evaluation));
    let mut files: Vec<PathBuf> = fs::read_dir(&faces)
        .unwrap()
        .flat_map(|class| fs::read_dir(class.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let first: Vec<f32> =
        of_run.lines().nth(1).unwrap().split(',').map(|value| value.parse().unwrap()).collect();
    let classifier = fer::model::Classifier::open(&colour).unwrap();
    let prediction = classifier.predict_file(&files[first[0] as usize]).unwrap();
    // Alone, not among twelve: the same to rounding.
    let near = prediction.probabilities.iter().zip(&first[3..]).all(|((_, p), q)| (p - q).abs() < 1e-5);
    assert!(near, "{prediction:?} {first:?}");

    // A run that cannot be deletes nothing.
    let refused = ["--overwrite", "--size", "3"];
    let (_, stderr, code) = run(train(&settings, &by_recipe, "1").arg("--data").arg(&faces).args(refused));
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(fs::read_to_string(by_recipe.join("model.toml")).unwrap(), model);
    let mut evaluate = example("evaluate");
    let text = printed(evaluate.arg("--model").arg(&out).arg("--data").arg(&faces).args(read));
    assert!(text.contains("1 neither, nor") && text.contains("120 rows"), "{text}");
    // The same settings, without a word on them.
    let resumed = printed(example("train_dcnn").args(["--resume", "--epochs", "2", "--out"]).arg(&out));
    assert!(resumed.contains("frowns"), "{resumed}");
    let (_, stderr, code) =
        run(example("explore_dataset").arg("--data").arg(&faces).arg("--out").arg(folder.path().join("x")));
    assert!(
        code == Some(1) && stderr.contains("a folder `frowns`") && stderr.contains("0 to 6, or anger"),
        "{stderr}"
    );
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

#[test]
fn a_keras_model_is_imported_with_what_its_file_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let golden = |name: &str| Path::new("tests/golden/keras_models").join(name);
    let weights = folder.path().join("xception.weights.h5");
    fs::copy(golden("keras3_xception.weights.h5"), &weights).unwrap();
    let out = folder.path().join("model");
    let import = || {
        let mut command = example("import_keras");
        command.arg("--h5").arg(&weights).arg("--out").arg(&out);
        command
    };
    let (_, stderr, code) = run(&mut import());
    assert!(
        code == Some(1) && stderr.contains("weights alone") && stderr.contains("--model-json FILE"),
        "{stderr}"
    );
    assert!(!out.join("model.toml").exists());

    fs::copy(golden("keras3_xception.json"), folder.path().join("model.json")).unwrap();
    let text = printed(import().args(["--mean", "0.5", "--deviation", "0.5"]));
    for part in [
        "the network is that of ",
        "(v/255 - 0.5) / 0.5",
        "labels: anger, disgust, fear",
        "These names are assumed",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let toml = fs::read_to_string(out.join("model.toml")).unwrap();
    assert!(toml.contains("deviation = 0.5"), "{toml}");
    // What was imported is not overwritten unasked.
    let (_, stderr, code) = run(&mut import());
    assert!(code == Some(1) && stderr.contains("--overwrite"), "{stderr}");
    // A model that cannot be takes the place of none.
    let (_, stderr, code) = run(import().args(["--overwrite", "--deviation", "0"]));
    assert!(code == Some(1) && stderr.contains("preprocessing.deviation is 0, allowed: above 0"), "{stderr}");
    assert_eq!(fs::read_to_string(out.join("model.toml")).unwrap(), toml);
}

#[test]
fn a_colour_model_is_evaluated_on_grey_faces() {
    let folder = tempfile::tempdir().unwrap();
    let (model, faces) = (folder.path().join("model"), folder.path().join("faces"));
    let names = "a,b,c,d,e";
    let golden = "tests/golden/keras_models/keras3_colour.keras";
    printed(example("import_keras").args(["--h5", golden, "--label-names", names, "--out"]).arg(&model));
    for (i, name) in names.split(',').enumerate() {
        fs::create_dir_all(faces.join(name)).unwrap();
        let face = image::GrayImage::from_fn(24, 24, |x, y| image::Luma([(x * y * i as u32) as u8]));
        face.save(faces.join(name).join("0.png")).unwrap();
    }
    let mut evaluate = example("evaluate");
    evaluate.arg("--model").arg(&model).arg("--data").arg(&faces).args(["--classes", names]);
    let text = printed(evaluate.arg("--out").arg(folder.path().join("out")));
    assert!(text.contains("5 rows"), "{text}");
    let predictions = fs::read_to_string(folder.path().join("out/predictions.csv")).unwrap();
    assert_eq!(predictions.lines().count(), 6);
    let classifier = fer_model::Classifier::open(&model).unwrap();
    for (i, line) in predictions.lines().skip(1).enumerate() {
        let file = faces.join(names.split(',').nth(i).unwrap()).join("0.png");
        let expected = classifier.predict_file(file).unwrap();
        let found: Vec<f32> = line.split(',').skip(3).map(|p| p.parse().unwrap()).collect();
        let expected: Vec<f32> = expected.probabilities.iter().map(|(_, p)| *p).collect();
        assert_eq!(found, expected);
    }
}
