//! What a CUDA device computes beside the CPU, and how fast. One JSON line a measurement goes to `--out`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

mod parity;
mod recipe;
mod steps;
mod times;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use clap::Parser;
use fer::model::{Architecture, DcnnConfig, Input, ResnetConfig, VggConfig};
use fer::nn::engine::{Engine, Rule, Samples, Setup, Treatment};
use fer::nn::{Compute, Graph, Network};
use fer::rand::{Purpose, Stream};
use serde_json::{Value, json};

/// Checks a CUDA device against the CPU, and measures it.
#[derive(Parser)]
struct Args {
    /// cuda:N.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// What to do: operations, gradients, explanations, steps, times, recipe, short.
    #[arg(value_delimiter = ',', default_value = "operations,gradients,explanations,steps,times")]
    work: Vec<String>,
    /// The recipe whose epochs are measured.
    #[arg(long, default_value = "recipes/ferplus.toml")]
    recipe: PathBuf,
    /// Images of such an epoch.
    #[arg(long, default_value_t = 28_160)]
    images: usize,
    /// A file for the measurements, one JSON object a line.
    #[arg(long)]
    out: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Check {
    device: Device,
    card: String,
    out: Option<File>,
    failed: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} checks failed");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<usize, Failure> {
    let device = fer::nn::device(&args.device)?;
    let name = fer::nn::device_name(&device);
    // The card's own name, as its peers call it, is in brackets.
    let card = name.split_once('(').map_or(name.as_str(), |(_, card)| card.trim_end_matches(')')).to_owned();
    let out = args.out.as_ref().map(File::create).transpose()?;
    let mut check = Check { device, card, out, failed: 0 };
    println!("{}", check.card);
    for work in &args.work {
        match work.as_str() {
            "operations" => parity::operations(&mut check)?,
            "gradients" => parity::gradients(&mut check)?,
            "explanations" => parity::explanations(&mut check)?,
            "steps" => steps::steps(&mut check)?,
            "short" => steps::short(&mut check)?,
            "times" => times::times(&mut check)?,
            "recipe" => recipe::recipe(&mut check, &args.recipe, args.images)?,
            other => {
                let known = "operations, gradients, explanations, steps, times, recipe or short";
                return Err(format!("unknown work '{other}': {known}").into());
            }
        }
    }
    Ok(check.failed)
}

/// Numbers of deviation 0.6 about 0, the same on every device.
fn random(shape: &[usize], item: u32, device: &Device) -> candle_core::Result<Tensor> {
    let stream = Stream { seed: 11, purpose: Purpose::named("check"), epoch: 0, item };
    let value = |i| stream.block(i).iter().map(|&word| word as f32 / u32::MAX as f32 - 0.5).sum::<f32>();
    let values: Vec<f32> = (0..shape.iter().product::<usize>() as u32).map(value).collect();
    Tensor::from_vec(values, shape, device)
}

impl Check {
    /// Writes a measurement.
    fn say(&mut self, line: Value) -> Result<(), Failure> {
        if let Some(out) = &mut self.out {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// Numbers that have to be the same to the bit.
    fn same(&mut self, what: &str, found: &[f64], wanted: &[f64]) -> Result<(), Failure> {
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        let (found, wanted) = (bits(found), bits(wanted));
        let differ = found.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
        let differ = differ + found.len().abs_diff(wanted.len());
        self.distance(&format!("{what}: numbers that differ"), differ as f64, 0.0)
    }

    /// A distance that may be at most `most`.
    fn distance(&mut self, what: &str, distance: f64, most: f64) -> Result<(), Failure> {
        let passed = distance <= most;
        self.failed += usize::from(!passed);
        println!("{:<6} {what}: {distance:.2e} (at most {most:.0e})", if passed { "ok" } else { "FAILED" });
        self.say(
            json!({"work": "parity", "what": what, "distance": distance, "at_most": most, "passed": passed}),
        )
    }
}

/// The networks that a card records, for three classes of faces.
fn architectures() -> [(&'static str, Architecture); 3] {
    [
        ("dcnn", DcnnConfig::default().into()),
        ("vgg", VggConfig::default().into()),
        ("resnet", ResnetConfig::default().into()),
    ]
}

/// A network with variables of its own.
fn network(
    architecture: &Architecture,
    weights: &VarMap,
    device: &Device,
    compute: Compute,
) -> Result<Graph, Failure> {
    let vb = fer::nn::var_builder(weights, 42, device);
    Ok(architecture.network(Input::grey(48), 3, vb)?.compute(compute))
}

/// The notebook's network.
fn dcnn(weights: &VarMap, device: &Device, compute: Compute) -> Result<Graph, Failure> {
    network(&DcnnConfig::default().into(), weights, device, compute)
}

/// Random images of 48×48.
fn pixels(count: usize) -> Result<Vec<u8>, Failure> {
    let values = random(&[1 << 16], 3, &Device::Cpu)?.to_vec1::<f32>()?;
    Ok(values.iter().cycle().take(count * 48 * 48).map(|v| (v * 60.0 + 128.0) as u8).collect())
}

/// Random images of three classes.
fn samples(count: usize, batch_size: usize) -> Result<Samples, Failure> {
    let pixels = pixels(count)?;
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
    let targets = Samples::one_hot(&labels, 3);
    Ok(Samples { pixels, targets, classes: 3, height: 48, width: 48, batch_size, drop_last: false })
}

/// A training on the card, without validation.
fn training(net: &Graph, samples: &Samples, treatment: Treatment) -> Result<Box<dyn Engine>, Failure> {
    let setup = Setup {
        train: samples,
        valid: None,
        treatment,
        label_smoothing: 0.0,
        class_weights: None,
        seed: 42,
        rule: Rule::Adaptive,
        decays_all: false,
        averages: false,
    };
    Ok(net.engine(&setup)?.ok_or("the network does not train on the device")?)
}
