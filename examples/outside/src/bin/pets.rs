//! Birds, cats and dogs from folders, from a table and from memory, in a plain candle loop.

use std::{error::Error, fs};

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Module, Optimizer, ParamsAdamW, VarBuilder, VarMap, linear, loss::cross_entropy};
use fer_data::{Classes, Dataset, Loader, LoaderConfig, ReadConfig};
use ndarray::{Array4, s};

const PETS: [&str; 3] = ["bird", "cat", "dog"];

/// 12×16 pictures: birds are blue, cats red, dogs green.
fn pictures() -> Array4<u8> {
    Array4::from_shape_fn((90, 12, 16, 3), |(n, y, x, channel)| {
        let light = 40 + (7 * n + 3 * y + 5 * x) % 60;
        (light + if channel == [2, 0, 1][n % 3] { 120 } else { 0 }) as u8
    })
}

/// Trains a dense layer; the accuracy on its own data.
fn train(data: Dataset) -> Result<f64, Box<dyn Error>> {
    let (shape, classes) = (data.shape(), data.encoder().len());
    let loader = Loader::new(data, LoaderConfig::default())?;
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let layer = linear(shape.values(), classes, vb)?;
    let mut adam = AdamW::new(vars.all_vars(), ParamsAdamW { lr: 0.01, ..Default::default() })?;
    let mut correct = 0.0;
    for epoch in 0..30 {
        correct = 0.0;
        for batch in loader.epoch(epoch) {
            let batch = batch?.to_tensors(&Device::Cpu)?;
            let logits = layer.forward(&batch.images.flatten_from(1)?)?;
            adam.backward_step(&cross_entropy(&logits, &batch.labels)?)?;
            let hits: Tensor = logits.argmax(1)?.eq(&batch.labels)?.to_dtype(DType::F64)?.sum_all()?;
            correct += hits.to_scalar::<f64>()?;
        }
    }
    Ok(correct / loader.samples() as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let labels: Vec<u32> = (0..90).map(|n| n % 3).collect();
    let memory = Dataset::from_colour(pictures(), Some(labels), None)?.named(PETS)?;

    let folder = std::env::temp_dir().join("outside-pets");
    for i in 0..memory.len() {
        let class = folder.join("folders").join(PETS[i % 3]);
        fs::create_dir_all(&class)?;
        memory.picture(i).save(class.join(format!("{i}.png")))?;
    }
    let read = ReadConfig {
        classes: Classes::AsFound,
        colour: true,
        size: Some("8x6".parse()?),
        ..Default::default()
    };
    let folders = Dataset::open_with(folder.join("folders"), &read)?;

    // A table holds grey squares.
    let mut csv = String::from("label,pixels\n");
    for i in 0..memory.len() {
        let grey = memory.in_grey();
        let square: Vec<String> = grey.image(i).slice(s![0, .., ..12]).iter().map(u8::to_string).collect();
        csv += &format!("{},{}\n", PETS[i % 3], square.join(" "));
    }
    fs::write(folder.join("pets.csv"), csv)?;
    let table = Dataset::open_with(
        folder.join("pets.csv"),
        &ReadConfig { classes: Classes::AsFound, ..Default::default() },
    )?;

    for (name, data) in [("memory", memory), ("folders", folders), ("table", table)] {
        println!("{name}: {} of {}, {:?}", data.len(), data.shape(), data.encoder().names());
        let (chance, accuracy) = (1.0 / data.encoder().len() as f64, train(data)?);
        println!("  accuracy {accuracy:.2}");
        assert!(accuracy > chance + 0.1, "nothing was learned");
    }
    Ok(())
}
