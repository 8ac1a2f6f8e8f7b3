//! Writes the small files that the targets begin with: `cargo run --example seeds`, in `fuzz/`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use fer::data::Dataset;
use fer::model::{Architecture, Classifier, Input, LayerConfig, LayerKind, LayersConfig, ModelConfig};
use fer::run::{Record, Settings};
use fer::train::{EarlyStopping, EarlyStoppingConfig, TensorBatches, TrainConfig, Trainer};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    tables()?;
    pictures()?;
    models()?;
    checkpoint()?;
    record()?;
    seed("figure_labels", "names", b"happy\nsad\nneutral")?;
    seed("figure_labels", "markup", "<b>&\"\n\u{1}\nÅngström\n1e-3\n\u{202e}x".as_bytes())
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> Result {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

fn tables() -> Result {
    let pixels = |value: usize| vec![value.to_string(); 9].join(" ");
    let rows: String = (0..6)
        .map(|i| format!("{},{},{}\n", [3, 4, 6][i % 3], pixels(40 * i), ["Training", "PublicTest"][i / 4]))
        .collect();
    let table = format!("emotion,pixels,Usage\n{rows}");
    let plain = table.as_bytes();
    seed("csv", "fer2013.csv", plain)?;
    seed("csv", "bom_crlf.csv", format!("\u{feff}{}", table.replace('\n', "\r\n")).as_bytes())?;
    seed("csv", "icml.csv", format!("emotion, Usage, pixels\n3,Training,\"{}\"\n", pixels(7)).as_bytes())?;
    seed("csv", "test.csv", format!("pixels\n{}\n", pixels(9)).as_bytes())?;
    seed("csv", "words.csv", format!("label,pixels\nbird,{}\ncat,{}\n", pixels(1), pixels(2)).as_bytes())?;

    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(plain)?;
    seed("csv", "table.csv.gz", &gz.finish()?)?;
    seed("csv", "table.csv.zst", &zstd::encode_all(plain, 3)?)?;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("fer2013.csv", zip::write::SimpleFileOptions::default())?;
    zip.write_all(plain)?;
    seed("csv", "table.zip", zip.finish()?.get_ref())?;
    let mut header = tar::Header::new_gnu();
    header.set_size(plain.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "fer2013/fer2013.csv", plain)?;
    let tar = tar.into_inner()?;
    seed("csv", "table.tar", &tar)?;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&tar)?;
    seed("csv", "table.tar.gz", &gz.finish()?)?;

    let split: String = (0..40).map(|row| format!("{row},{}\n", ["train", "valid"][row % 2])).collect();
    seed("split", "split.csv", format!("row,subset\n{split}").as_bytes())?;
    let head = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n";
    let votes = format!(
        "{head}Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nTraining,fer0000001.png,0,10,0,0,0,0,0,0,0,0\nPublicTest,,0,0,0,0,0,0,0,0,0,10\n"
    );
    seed("ferplus", "votes.csv", votes.as_bytes())?;
    seed("predictions", "numbers.csv", b"label,predicted\n1,1.0\n2,1\n2,2\n")?;
    seed("predictions", "names.csv", b"name,predicted,label\na,\"x, y\",happy\nb,happy,\"x, y\"\n")
}

fn pictures() -> Result {
    let grey: DynamicImage = GrayImage::from_fn(12, 12, |x, y| image::Luma([(x * 20 + y) as u8])).into();
    let colour: DynamicImage =
        RgbImage::from_fn(16, 9, |x, y| image::Rgb([x as u8 * 9, y as u8 * 9, 100])).into();
    let formats = [
        ("bmp", ImageFormat::Bmp),
        ("gif", ImageFormat::Gif),
        ("jpg", ImageFormat::Jpeg),
        ("png", ImageFormat::Png),
        ("tiff", ImageFormat::Tiff),
        ("webp", ImageFormat::WebP),
    ];
    for (extension, format) in formats {
        for (name, picture) in [("grey", &grey), ("colour", &colour)] {
            // An animation has colours, and a still WebP is written with them.
            let picture = match format {
                ImageFormat::Gif | ImageFormat::WebP => DynamicImage::from(picture.to_rgba8()),
                _ => picture.clone(),
            };
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format)?;
            for target in ["picture", "folder"] {
                seed(target, &format!("{name}.{extension}"), bytes.get_ref())?;
            }
        }
    }
    Ok(())
}

fn layer(name: &str, is: LayerKind) -> LayerConfig {
    LayerConfig { name: name.into(), inputs: Vec::new(), is }
}

fn models() -> Result {
    let conv = r#"{"conv2d": {"filters": 3, "kernel": 3, "padding": "same", "activation": "relu"}}"#;
    let dense = r#"{"dense": {"units": 2}}"#;
    let layers = vec![
        layer("conv", serde_json::from_str(conv)?),
        layer("pool", LayerKind::GlobalMean),
        layer("out", serde_json::from_str(dense)?),
    ];
    let labels = vec!["happy".to_owned(), "sad".to_owned()];
    let config = ModelConfig::new(Architecture::Layers(LayersConfig { layers }), Input::grey(8), labels)?;
    let vars = VarMap::new();
    config.network(VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let folder = tempfile::tempdir()?;
    fer::model::save(folder.path(), &config, &vars)?;
    Classifier::open(folder.path())?;
    let read = |name: &str| fs::read(folder.path().join(name));
    seed("model_toml", "model.toml", &read("model.toml")?)?;
    seed("safetensors", "model.safetensors", &read("model.safetensors")?)?;
    Ok(())
}

/// Of an unfinished run.
fn record() -> Result {
    let settings = Settings::default();
    let data = Dataset::drawn(60, 1);
    let record = Record {
        version: "0.1.0".into(),
        source: data.source().clone(),
        split: data.split(settings.split)?.leakage(),
        settings,
        ferplus: None,
        constant: 0,
        device: "cpu".into(),
        threads: 2,
        result: None,
    };
    seed("record", "run.json", &serde_json::to_vec(&record)?)
}

/// Of a network of one dense layer, after two epochs.
fn checkpoint() -> Result {
    let data = Dataset::drawn(8, 1);
    let images: Vec<f32> = (0..data.len()).map(|i| f32::from(data.image(i)[[0, 20, 20]]) / 255.0).collect();
    let images = Tensor::from_vec(images, (8, 1, 1, 1), &Device::Cpu)?;
    let classes = Tensor::from_vec(vec![0_u32, 1, 0, 1, 0, 1, 0, 1], 8, &Device::Cpu)?;
    let train = TensorBatches::new(images, classes, 4)?.shuffled(1);
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let network = fer::nn::Sequential::new().add(fer::nn::Flatten).add(fer::nn::dense(
        1,
        2,
        fer::nn::DenseConfig::default(),
        vb.pp("out"),
    )?);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.safetensors");
    let trainer = Trainer::new(TrainConfig { epochs: 2, ..TrainConfig::default() })?.checkpoint(&path);
    let mut stopping =
        EarlyStopping::new(EarlyStoppingConfig { monitor: "loss".into(), ..Default::default() });
    trainer.fit(&network, &vars, &train, None, &mut [&mut stopping])?;
    seed("checkpoint", "state.safetensors", &fs::read(&path)?)
}
