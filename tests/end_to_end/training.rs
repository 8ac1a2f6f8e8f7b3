//! Trainings that are killed and resumed, and the recipes.

use super::*;

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
