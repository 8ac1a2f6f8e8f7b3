//! The `vgg` chain of the FER+ recipe on all cores: a training step (forward, cross-entropy of soft targets, backward, SGD;
//! dropout on) and inference. Prints a line of JSON for each, as `benches/compare` reads it of the peers.
//!
//! ```sh
//! cargo bench --bench vgg                       # a training step of 128 images, inference of 256
//! cargo bench --bench vgg -- train_step 64
//! ```
#![allow(clippy::print_stdout, reason = "what is measured goes to a person or to benches/compare")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use candle_nn::ops::softmax;
use fer::data::Dataset;
use fer::model::{Architecture, Input, VggConfig};
use fer::nn::{Mode, Network, Step, var_builder};
use fer::train::{Algorithm, LossConfig, Optimizer, OptimizerConfig, cross_entropy};

/// The emotions of FER+.
const CLASSES: usize = 8;

/// Images that go through the network at once in inference, as in `Classifier`.
const AT_ONCE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.as_slice() {
        [] => measure("train_step", 128).and_then(|()| measure("inference", 256)),
        [work, batch] => measure(work, batch.parse()?),
        _ => Err("usage: cargo bench --bench vgg [-- train_step|inference BATCH]".into()),
    }
}

fn measure(work: &str, batch: usize) -> Result<(), Box<dyn Error>> {
    let weights = VarMap::new();
    let input = Input { channels: 1, height: 48, width: 48 };
    let builder = var_builder(&weights, 42, &Device::Cpu);
    let network = Architecture::from(VggConfig::default()).network(input, CLASSES, builder)?;
    let (images, targets) = faces(batch)?;
    let seconds = match work {
        "train_step" => {
            let mut optimizer = Optimizer::new(OptimizerConfig {
                algorithm: Algorithm::Sgd,
                learning_rate: 0.05,
                nesterov: true,
                weight_decay: 5e-4,
                ..Default::default()
            })?;
            let mut step = 0;
            median_seconds(|| {
                step += 1;
                let loss = &mut |logits: &Tensor| {
                    let loss = cross_entropy(logits, &targets, &LossConfig::default());
                    let loss = loss.map_err(candle_core::Error::wrap)?;
                    black_box(loss.to_scalar::<f32>()?);
                    Ok(loss)
                };
                let gradients = network.gradients(&images, Step { seed: 42, epoch: 0, step }, loss)?;
                optimizer.step(&weights, &gradients)?;
                Ok(())
            })?
        }
        "inference" => {
            let parts = images.chunk(batch.div_ceil(AT_ONCE), 0)?;
            median_seconds(|| {
                for part in &parts {
                    black_box(softmax(&network.forward(part, Mode::Eval)?, 1)?.to_vec2::<f32>()?);
                }
                Ok(())
            })?
        }
        _ => return Err(format!("{work}: train_step and inference are measured").into()),
    };
    // Moving statistics are among the variables.
    let parameters: usize = weights.all_vars().iter().map(|var| var.elem_count()).sum();
    let of = serde_json::json!({
        "images": batch, "parameters": parameters, "threads": rayon::current_num_threads(),
    });
    println!("{}", serde_json::json!({ "name": "ours", "work": of, "value": seconds }));
    Ok(())
}

/// The median of one call, over four seconds and ten calls at least, after three that do not count: as
/// `benches/compare/peers/timing.py` times the peers.
fn median_seconds(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    for _ in 0..3 {
        work()?;
    }
    let mut times = Vec::new();
    while times.len() < 10 || times.iter().sum::<Duration>() < Duration::from_secs(4) {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort();
    let (below, above) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
    Ok((below + above).as_secs_f64() / 2.0)
}

/// Drawn faces, and targets that share each label with another class.
fn faces(batch: usize) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let data = Dataset::drawn(batch, 42);
    let pixels: Vec<f32> =
        (0..batch).flat_map(|i| data.image(i).into_iter().map(|&grey| f32::from(grey) / 255.0)).collect();
    let mut shares = vec![0.0_f32; batch * CLASSES];
    for (row, &label) in shares.chunks_mut(CLASSES).zip(data.labels().ok_or("no labels")?) {
        row[label as usize] = 0.75;
        row[CLASSES - 1] = 0.25;
    }
    Ok((
        Tensor::from_vec(pixels, (batch, 1, 48, 48), &Device::Cpu)?,
        Tensor::from_vec(shares, (batch, CLASSES), &Device::Cpu)?,
    ))
}
