//! A program with its model inside: `embedded FACE`.

use std::error::Error;

use fer_model::Classifier;

const TOML: &str = include_str!("../../../../crates/fer-weights/weights/model.toml");
const WEIGHTS: &[u8] = include_bytes!("../../../../crates/fer-weights/weights/model.safetensors");

fn main() -> Result<(), Box<dyn Error>> {
    let face = std::env::args_os().nth(1).ok_or("usage: embedded FACE")?;
    let prediction = Classifier::from_bytes(TOML, WEIGHTS)?.predict_file(face)?;
    println!("{} {:?}", prediction.label, prediction.top(3));
    Ok(())
}
