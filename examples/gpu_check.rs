//! What a CUDA device computes beside the CPU, and how fast. One JSON line a measurement goes to `--out`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use clap::Parser;
use fer::DeviceLoader;
use fer::augment::Augment;
use fer::data::{Dataset, Loader, LoaderConfig};
use fer::model::{Dcnn, DcnnConfig};
use fer::nn::on_device::{Edge, EpochPlan, OnDevice, Samples, Setup, Update, Warp};
use fer::nn::{
    Activation, BatchNormConfig, Compute, Conv2dConfig, DenseConfig, Mode, Network, Padding, Precision, Step,
};
use fer::rand::{Purpose, Stream};
use fer::train::{BatchLog, Callback, TrainConfig, Trainer};
use serde_json::{Value, json};

/// Checks a CUDA device against the CPU, and measures it.
#[derive(Parser)]
struct Args {
    /// cuda:N.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// What to do: operations, steps, times, short.
    #[arg(value_delimiter = ',', default_value = "operations,steps,times")]
    work: Vec<String>,
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
            "operations" => check.operations()?,
            "steps" => check.steps()?,
            "times" => check.times()?,
            "short" => check.short()?,
            other => return Err(format!("unknown work '{other}': operations, steps, times or short").into()),
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

/// A layer as a function of variables.
type Operation<'a> = &'a dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>;

impl Check {
    fn say(&mut self, line: Value) -> Result<(), Failure> {
        if let Some(out) = &mut self.out {
            writeln!(out, "{line}")?;
        }
        Ok(())
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

    /// Output and gradients of an operation on the CPU and on the card.
    fn operation(&mut self, what: &str, shapes: &[&[usize]], operation: Operation) -> Result<(), Failure> {
        let results = |device: &Device| -> Result<Vec<Tensor>, Failure> {
            let inputs =
                shapes.iter().zip(1..).map(|(shape, i)| Var::from_tensor(&random(shape, i, device)?));
            let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
            let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
            let y = operation(&tensors)?;
            let factors = random(y.dims(), 99, device)?;
            let gradients: GradStore = (&y * factors)?.sum_all()?.backward()?;
            let of_inputs = inputs.iter().filter_map(|var| gradients.get(var).cloned());
            let all = std::iter::once(y.detach()).chain(of_inputs);
            all.map(|tensor| Ok(tensor.to_device(&Device::Cpu)?)).collect()
        };
        let (found, wanted) = (results(&self.device)?, results(&Device::Cpu)?);
        for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let part = if i == 0 { "output".to_owned() } else { format!("gradient {i}") };
            self.distance(&format!("{what} {:?}, {part}", shapes[0]), relative(found, wanted)?, 1e-4)?;
        }
        Ok(())
    }

    /// Every layer of fer-nn, called by itself, over shapes that vectors fill and shapes that they do not.
    fn operations(&mut self) -> Result<(), Failure> {
        for (n, c, k, side, kernel) in
            [(32, 1, 64, 48, 5), (8, 64, 128, 24, 3), (3, 5, 7, 11, 3), (2, 3, 6, 9, 4)]
        {
            for (padding, activation) in
                [(Padding::Same, Activation::Elu), (Padding::Valid, Activation::Relu)]
            {
                let config = Conv2dConfig { padding, activation, stride: 1 };
                let shapes: [&[usize]; 3] = [&[n, c, side, side], &[k, c, kernel, kernel], &[k]];
                self.operation(&format!("conv2d {padding:?} {activation:?}"), &shapes, &|x| {
                    fer::nn::Conv2d::new(x[1].clone(), x[2].clone(), config)?.forward(&x[0])
                })?;
            }
            self.operation("max_pool2d 2", &[&[n, c, side, side]], &|x| fer::nn::max_pool2d(&x[0], 2, 2))?;
            self.operation("max_pool2d 3, stride 1", &[&[n, c, side, side]], &|x| {
                fer::nn::max_pool2d(&x[0], 3, 1)
            })?;
            let dropout = fer::nn::dropout(0.4, "check")?;
            let train = Mode::Train(Step { seed: 42, epoch: 3, step: 17 });
            self.operation("dropout", &[&[n, c, side, side]], &|x| dropout.forward(&x[0], train))?;
            for mode in [train, Mode::Eval] {
                let name = if mode == Mode::Eval { "batch_norm, moving" } else { "batch_norm, batch" };
                self.operation(name, &[&[n, c, side, side]], &|x| {
                    let vars = VarMap::new();
                    let vb = fer::nn::var_builder(&vars, 42, x[0].device());
                    fer::nn::batch_norm(c, BatchNormConfig::default(), vb)?.forward(&x[0], mode)
                })?;
            }
            let elu = DenseConfig { activation: Activation::Elu, ..Default::default() };
            self.operation("dense", &[&[n, k * c]], &|x| {
                let vars = VarMap::new();
                fer::nn::dense(k * c, k, elu, fer::nn::var_builder(&vars, 42, x[0].device()))?.forward(&x[0])
            })?;
        }
        Ok(())
    }

    /// Twenty steps of the notebook's training, augmentation and dropout on, beside the CPU's.
    fn steps(&mut self) -> Result<(), Failure> {
        let wanted = trained(&Device::Cpu, Compute::default())?;
        for (precision, most) in [(Precision::F32, 1e-4), (Precision::Tf32, 2e-2), (Precision::Bf16, 5e-2)] {
            let (losses, logits) = trained(&self.device, Compute { precision, deterministic: true })?;
            let distances = losses.iter().zip(&wanted.0).map(|(a, b)| ((a - b) / b).abs());
            let largest = distances.fold(0.0, f64::max);
            self.distance(&format!("20 training steps in {precision}, loss"), largest, most)?;
            self.distance(
                &format!("20 training steps in {precision}, logits after them"),
                relative(&logits, &wanted.1)?,
                most * 100.0,
            )?;
            let again = trained(&self.device, Compute { precision, deterministic: true })?;
            let same = f64::from(u8::from(again.0 != losses));
            self.distance(&format!("the same steps in {precision} again, bits that differ"), same, 0.0)?;
        }
        Ok(())
    }

    /// Few steps and one inference: for a memory checker, under which all is slow.
    fn short(&mut self) -> Result<(), Failure> {
        for precision in [Precision::F32, Precision::Bf16] {
            let (losses, _) = trained_on(&self.device, Compute { precision, deterministic: true }, 40, 2)?;
            self.distance(
                &format!("a short training in {precision}"),
                f64::from(u8::from(losses.iter().any(|l| !l.is_finite()))),
                0.0,
            )?;
        }
        Ok(())
    }

    /// Training steps and inference at each size and precision.
    fn times(&mut self) -> Result<(), Failure> {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            for (batch, steps) in [(32, 600), (1024, 20)] {
                let times = step_times(&self.device, precision, batch, steps)?;
                self.time("train_step", batch, precision, &times)?;
            }
            let times = inference_times(&self.device, precision, 4096)?;
            self.time("inference", 4096, precision, &times)?;
        }
        Ok(())
    }

    fn time(&mut self, work: &str, batch: usize, precision: Precision, times: &[f64]) -> Result<(), Failure> {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (median, min, max) = (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]);
        let per_second = batch as f64 / median;
        println!("{work}, batch {batch}, {precision}: {:.3} ms, {per_second:.0} images/s", median * 1e3);
        let card = &self.card;
        self.say(json!({
            "work": work, "batch": batch, "precision": precision.to_string(), "seconds": median, "min": min,
            "max": max, "repetitions": times.len(), "card": card,
        }))
    }
}

/// `‖a − b‖ / ‖b‖`, of tensors on the CPU.
fn relative(a: &Tensor, b: &Tensor) -> Result<f64, Failure> {
    let norm = |t: &Tensor| -> Result<f64, Failure> {
        Ok(t.to_dtype(candle_core::DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
    };
    Ok(norm(&(a - b)?)? / norm(b)?.max(1e-12))
}

/// Keeps the mean loss after every batch.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Callback for Losses {
    fn name(&self) -> &'static str {
        "losses"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.0.push(log.loss);
    }
}

/// The losses of twenty steps of the notebook's training on drawn faces, and the logits of some images after them.
fn trained(device: &Device, compute: Compute) -> Result<(Vec<f64>, Tensor), Failure> {
    trained_on(device, compute, 20 * 32, 1)
}

fn trained_on(
    device: &Device,
    compute: Compute,
    faces: usize,
    epochs: u32,
) -> Result<(Vec<f64>, Tensor), Failure> {
    let weights = VarMap::new();
    let net = Dcnn::new(&DcnnConfig::default(), fer::nn::var_builder(&weights, 42, device))?.compute(compute);
    let loader = Loader::new(Dataset::drawn(faces, 42), LoaderConfig::default())?;
    let train = DeviceLoader::new(loader, device.clone()).augmented(Augment::new(Default::default())?);
    let mut losses = Losses::default();
    let trainer = Trainer::new(TrainConfig { epochs, ..Default::default() })?;
    trainer.fit(&net, &weights, &train, None, &mut [&mut losses])?;
    let images = random(&[8, 1, 48, 48], 7, device)?;
    Ok((losses.0, net.forward(&images, Mode::Eval)?.to_device(&Device::Cpu)?))
}

/// Seconds of a step, over epochs of `steps` of them with the images on the card; the first epoch is not counted.
fn step_times(
    device: &Device,
    precision: Precision,
    batch: usize,
    steps: usize,
) -> Result<Vec<f64>, Failure> {
    let weights = VarMap::new();
    let compute = Compute { precision, deterministic: false };
    let net = Dcnn::new(&DcnnConfig::default(), fer::nn::var_builder(&weights, 42, device))?.compute(compute);
    let count = batch * steps;
    let pixels = random(&[1 << 16], 3, &Device::Cpu)?.to_vec1::<f32>()?;
    let pixels = pixels.iter().cycle().take(count * 48 * 48).map(|v| (v * 60.0 + 128.0) as u8).collect();
    let labels = (0..count as u32).map(|i| i % 3).collect();
    let samples = Samples { pixels, labels, height: 48, width: 48, batch_size: batch };
    let setup = Setup {
        train: &samples,
        valid: None,
        edge: Edge::Nearest,
        tones: None,
        label_smoothing: 0.0,
        class_weights: None,
        seed: 42,
    };
    let training: Option<Box<dyn OnDevice>> = net.on_device(&setup)?;
    let mut training = training.ok_or("the network does not train on the device")?;
    let warp = Warp { map: Some(([0.97, -0.1, 0.1, 0.97], [3.0, -1.5])), ..Default::default() };
    let plan = EpochPlan { order: (0..count as u32).collect(), warps: vec![warp; count], tones: Vec::new() };
    let update = Update {
        new_in_mean: 0.1,
        new_in_square: 0.001,
        of_mean: 1e-3,
        of_gradient: 0.0,
        of_square: 1.0,
        epsilon: 1e-7,
    };
    let mut times = Vec::new();
    for epoch in 0..11 {
        let started = Instant::now();
        let results = training.train(epoch, 0, &plan, &vec![update; steps])?;
        if results.iter().any(|result| !result.loss.is_finite()) {
            return Err("a loss is not finite".into());
        }
        times.push(started.elapsed().as_secs_f64() / steps as f64);
    }
    Ok(times.split_off(1))
}

/// Seconds of a batch, its images on the card.
fn inference_times(device: &Device, precision: Precision, batch: usize) -> Result<Vec<f64>, Failure> {
    const CALLS: usize = 10;
    let weights = VarMap::new();
    let compute = Compute { precision, deterministic: false };
    Dcnn::new(&DcnnConfig::default(), fer::nn::var_builder(&weights, 42, device))?;
    let tensors = weights.data().lock().map_err(|_| "poisoned")?;
    let tensors = tensors.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
    let vb = candle_nn::VarBuilder::from_tensors(tensors, candle_core::DType::F32, device);
    let net = Dcnn::new(&DcnnConfig::default(), vb)?.compute(compute);
    let images = random(&[batch, 1, 48, 48], 5, device)?;
    let mut times = Vec::new();
    for _ in 0..16 {
        let started = Instant::now();
        for _ in 1..CALLS {
            net.forward(&images, Mode::Eval)?;
        }
        net.forward(&images, Mode::Eval)?.to_vec2::<f32>()?;
        times.push(started.elapsed().as_secs_f64() / CALLS as f64);
    }
    Ok(times.split_off(1))
}
