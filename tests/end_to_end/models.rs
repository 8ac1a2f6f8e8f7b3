//! Models from elsewhere and of colours.

use super::*;

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
