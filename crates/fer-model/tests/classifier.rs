//! Models on disk and in memory, whole and damaged.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use fer_model::{BlockConfig, Classifier, DcnnConfig, ModelConfig};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};

fn narrow() -> DcnnConfig {
    DcnnConfig {
        blocks: vec![BlockConfig { filters: 4, kernel: 3, dropout: 0.1 }; 2],
        dense_units: 8,
        ..Default::default()
    }
}

fn labels() -> Vec<String> {
    ["happy", "sad", "neutral"].map(String::from).to_vec()
}

fn save(dir: &Path) {
    let vars = VarMap::new();
    narrow().network(fer_nn::var_builder(&vars, 42, &Device::Cpu)).unwrap();
    fer_model::save(dir, &ModelConfig::dcnn(narrow(), labels()).unwrap(), &vars).unwrap();
}

fn face(seed: u32) -> DynamicImage {
    GrayImage::from_fn(48, 48, |x, y| Luma([(x * x * seed + 3 * y * seed) as u8])).into()
}

#[test]
fn the_names_of_the_classes_are_names() {
    let error = |names: [&str; 3]| {
        ModelConfig::dcnn(narrow(), names.map(String::from).to_vec()).unwrap_err().to_string()
    };
    let names = "names without space around them, at least a letter long";
    assert_eq!(error(["happy", "", "sad"]), format!("labels is '', allowed: {names}"));
    assert_eq!(error(["happy", " sad", "neutral"]), format!("labels is ' sad', allowed: {names}"));
    assert_eq!(error(["happy", "s\nad", "neutral"]), format!("labels is 's\\nad', allowed: {names}"));
    assert_eq!(error(["happy", "sad", "happy"]), "labels is 'happy', allowed: each name once");
}

#[test]
fn an_encoded_photo_is_turned_and_a_cut_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let classifier = Classifier::open(dir.path()).unwrap();
    let mut jpeg = Cursor::new(Vec::new());
    face(3).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    // EXIF orientation 6: a quarter clockwise.
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    let upright = image::load_from_memory(&jpeg).unwrap().rotate90();
    assert_eq!(classifier.predict_encoded(&turned).unwrap(), classifier.predict(&upright).unwrap());
    let error = classifier.predict_encoded(&jpeg[..jpeg.len() / 2]).unwrap_err().to_string();
    assert_eq!(error, "the picture is cut off: the file is not complete");
}

#[test]
fn a_model_in_memory_is_the_model_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let on_disk = Classifier::open(dir.path()).unwrap();
    let text = fs::read_to_string(dir.path().join("model.toml")).unwrap();
    let weights = fs::read(dir.path().join("model.safetensors")).unwrap();
    let in_memory = Classifier::from_bytes(&text, &weights).unwrap();
    assert_eq!(on_disk.predict(&face(1)).unwrap(), in_memory.predict(&face(1)).unwrap());
    assert_eq!(in_memory.labels(), labels());
}

#[test]
fn an_image_gets_the_same_answer_alone_encoded_and_among_others() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let classifier = Classifier::open(dir.path()).unwrap();
    // More than go through the network at once.
    let faces: Vec<DynamicImage> = (0..70).map(face).collect();
    let together = classifier.predict_batch(&faces).unwrap();
    assert_eq!(together.len(), 70);
    for i in [0, 3, 69] {
        let alone = classifier.predict(&faces[i]).unwrap();
        let mut png = Cursor::new(Vec::new());
        faces[i].write_to(&mut png, ImageFormat::Png).unwrap();
        assert_eq!(classifier.predict_encoded(png.get_ref()).unwrap(), alone);
        assert_eq!(alone.label, together[i].label);
        for ((name, p), (other, q)) in alone.probabilities.iter().zip(&together[i].probabilities) {
            assert!(name == other && (p - q).abs() < 1e-6, "{i}: {p} {q}");
        }
    }
    assert!(classifier.predict_batch(&[]).unwrap().is_empty());
    assert!(classifier.predict_encoded(b"no image").unwrap_err().to_string().contains("no picture"));
    assert!(classifier.predict_pixels(&[0; 100]).unwrap_err().to_string().contains("a multiple of 2304"));
}

#[test]
fn threads_share_a_classifier() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let classifier = Classifier::open(dir.path()).unwrap();
    let alone = classifier.predict(&face(2)).unwrap();
    std::thread::scope(|scope| {
        let ask = || classifier.predict(&face(2)).unwrap();
        let asked = [scope.spawn(ask), scope.spawn(ask)];
        for answer in asked {
            assert_eq!(answer.join().unwrap(), alone);
        }
    });
}

#[test]
fn halves_are_read_as_what_they_stand_for() {
    let (dir, half) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    save(dir.path());
    let (config, tensors) = fer_model::load(dir.path()).unwrap();
    let rounded = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
    let halves: HashMap<String, Tensor> = tensors.iter().map(|(k, t)| (k.clone(), rounded(t))).collect();
    fer_model::save(half.path(), &config, &halves).unwrap();
    let size = |dir: &Path| fs::metadata(dir.join("model.safetensors")).unwrap().len();
    assert!(size(half.path()) < size(dir.path()) * 6 / 10);
    let (_, read) = fer_model::load(half.path()).unwrap();
    for (name, tensor) in &halves {
        let expected = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(read[name].flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected, "{name}");
    }
}

#[test]
fn a_damaged_model_is_refused_with_the_file_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path());
    let (settings, weights) = (dir.path().join("model.toml"), dir.path().join("model.safetensors"));
    let text = fs::read_to_string(&settings).unwrap();
    let bytes = fs::read(&weights).unwrap();
    let error = |text: &str, bytes: &[u8]| {
        fs::write(&settings, text).unwrap();
        fs::write(&weights, bytes).unwrap();
        Classifier::open(dir.path()).unwrap_err().to_string()
    };
    let cut = error(&text, &bytes[..bytes.len() / 2]);
    assert!(cut.contains("model.safetensors"), "{cut}");
    assert!(error(&text, b"").contains("model.safetensors"));
    let newer = error(&text.replace("format_version = 1", "format_version = 2"), &bytes);
    assert!(newer.contains("model.toml: format version 2, this version reads 1"), "{newer}");
    let wider = error(&text.replace("dense_units = 8", "dense_units = 9"), &bytes);
    assert!(
        wider.contains("tensor 'dense_1.weight' is F32 [8, 576], expected F32 or F16 [9, 576]"),
        "{wider}"
    );
    let unlabelled = error(&text.replace("\"happy\", ", ""), &bytes);
    assert!(unlabelled.contains("2 labels for 3 classes"), "{unlabelled}");
    let single = error(&text.replace("classes = 3", "classes = 1"), &bytes);
    assert!(single.contains("classes is 1, allowed: 2 to 65536"), "{single}");
    assert!(error("not toml", &bytes).contains("model.toml"));
    let steering = error("labels\u{1b}[31m = 1", &bytes);
    assert!(steering.contains("labels\\u{1b}[31m") && steering.contains('\n'), "{steering}");
    fs::remove_file(&weights).unwrap();
    fs::write(&settings, &text).unwrap();
    assert!(Classifier::open(dir.path()).unwrap_err().to_string().contains("model.safetensors"));
}

#[test]
fn values_that_are_not_finite_are_named_by_their_tensor() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path());
    let (config, mut tensors) = fer_model::load(folder.path()).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let bias = Tensor::new(&[0.0, value, 0.0], &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F16] {
            tensors.insert("out_layer.bias".to_owned(), bias.to_dtype(dtype).unwrap());
            fer_model::save(folder.path(), &config, &tensors).unwrap();
            let said = Classifier::open(folder.path()).unwrap_err().to_string();
            let expected = "tensor 'out_layer.bias' holds values that are not finite: the training that made it diverged";
            assert!(said.ends_with(expected), "{said}");
        }
        tensors.insert("out_layer.bias".to_owned(), bias);
        let classifier = Classifier::new(config.clone(), &tensors, &Device::Cpu).unwrap();
        let said = classifier.predict(&face(1)).unwrap_err().to_string();
        assert_eq!(said, "the network gives no probabilities for image 0: its values overflow");
    }
}

#[test]
fn an_image_without_pixels_is_no_face() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path());
    let said = Classifier::open(folder.path()).unwrap().predict(&DynamicImage::new_luma8(0, 9)).unwrap_err();
    assert_eq!(said.to_string(), "an image is 0×9, allowed: at least one pixel");
}
