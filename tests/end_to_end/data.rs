//! Datasets: looked at, split, and of folders of any classes.

use super::*;

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
