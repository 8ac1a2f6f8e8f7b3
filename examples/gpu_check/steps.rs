//! Trainings of few steps: beside the CPU's, again, in launches of several steps, and under a memory checker.

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use fer::DeviceLoader;
use fer::augment::{Augment, Mixup};
use fer::data::{Dataset, Loader, LoaderConfig};
use fer::model::{Architecture, DcnnConfig, ResnetConfig};
use fer::nn::engine::Update;
use fer::nn::{Compute, Graph, Mode, Network, Precision, Step};
use fer::train::{
    Algorithm, AverageConfig, Batches, LossConfig, OptimizerConfig, Stored, TrainConfig, Trainer,
    cross_entropy,
};

use crate::parity::{norm, relative};
use crate::{Check, Failure, dcnn, network, random, training};

/// Twenty steps of the notebook's training in each precision, beside the CPU's in f32, and the same again.
pub fn steps(check: &mut Check) -> Result<(), Failure> {
    for (precision, most) in [(Precision::F32, 1e-4), (Precision::Tf32, 3e-3), (Precision::Bf16, 2e-2)] {
        for deterministic in [true, false] {
            let compute = Compute { precision, deterministic };
            let algorithms = if deterministic { "deterministic" } else { "fastest" };
            let what = format!("20 training steps in {precision}, {algorithms}");
            let steps = Steps::on(&check.device, compute)?;
            check.distance(&format!("{what}, loss"), steps.loss, most)?;
            check.distance(&format!("{what}, inference after them"), steps.inference, most)?;
            if deterministic {
                let again = Steps::on(&check.device, compute)?.losses;
                check.same(&format!("{what}, again"), &again, &steps.losses)?;
                let [alone, together] = [1, 20].map(|launched| bits(&check.device, compute, launched));
                check.same(&format!("{what}, in launches of several"), &together?, &alone?)?;
            }
        }
    }
    Ok(())
}

/// Steps of Adam on a batch of drawn faces, augmentation and dropout on, each beside the CPU's from the same weights.
/// From the same start alone two trainings part soon: where a gradient is about nothing, rounding decides its sign, and
/// so the way that Adam goes.
struct Steps {
    losses: Vec<f64>,
    /// The largest relative distance of a loss.
    loss: f64,
    /// The distance of the logits in inference, after the last step.
    inference: f64,
}

impl Steps {
    fn on(device: &Device, compute: Compute) -> Result<Self, Failure> {
        let (weights, reference_weights) = (VarMap::new(), VarMap::new());
        let net = dcnn(&weights, device, compute)?;
        let reference = dcnn(&reference_weights, &Device::Cpu, Compute::default())?;
        let copy = || -> Result<(), Failure> {
            let from = weights.data().lock().map_err(|_| "poisoned")?;
            for (name, var) in reference_weights.data().lock().map_err(|_| "poisoned")?.iter() {
                var.set(&from[name].to_device(&Device::Cpu)?)?;
            }
            Ok(())
        };
        let loader = Loader::new(Dataset::drawn(32, 42), LoaderConfig::default())?;
        let augment = Augment::new(Default::default())?;
        let on_card = DeviceLoader::new(loader.clone(), device.clone()).augmented(augment.clone());
        let on_cpu = DeviceLoader::new(loader, Device::Cpu).augmented(augment);
        let Stored { samples, treatment } =
            on_card.stored().ok_or("the faces cannot be stored on the device")?;
        let mut training = training(&net, &samples, treatment)?;
        let (mut losses, mut largest) = (Vec::new(), 0.0_f64);
        for epoch in 0..20 {
            copy()?;
            let batch = on_cpu.epoch(epoch).next().ok_or("no batch")??;
            let logits = reference.forward(&batch.images, Mode::Train(Step { seed: 42, epoch, step: 0 }))?;
            let wanted =
                cross_entropy(&logits, &batch.targets, &LossConfig::default())?.to_scalar::<f32>()?;
            training.begin(epoch, &on_card.plan(epoch))?;
            let results = training.train(0..1, &[adam(epoch as i32 + 1)])?;
            training.store()?;
            let loss = results[0].loss / results[0].samples as f64;
            largest = largest.max((loss / f64::from(wanted) - 1.0).abs());
            losses.push(loss);
        }
        copy()?;
        let infer = |net: &Graph, device: &Device| -> Result<Tensor, Failure> {
            Ok(net.forward(&random(&[8, 1, 48, 48], 7, device)?, Mode::Eval)?.to_device(&Device::Cpu)?)
        };
        let inference = relative(&infer(&net, device)?, &infer(&reference, &Device::Cpu)?)?;
        Ok(Self { losses, loss: largest, inference })
    }
}

/// Losses and weights of twenty steps of an epoch, asked for so many at once: what is replayed in launches of several steps is to
/// be what steps of one are.
fn bits(device: &Device, compute: Compute, together: usize) -> Result<Vec<f64>, Failure> {
    const STEPS: usize = 20;
    let weights = VarMap::new();
    let net = dcnn(&weights, device, compute)?;
    let loader = Loader::new(Dataset::drawn(32 * STEPS, 42), LoaderConfig::default())?;
    let batches = DeviceLoader::new(loader, device.clone()).augmented(Augment::new(Default::default())?);
    let Stored { samples, treatment } = batches.stored().ok_or("the faces cannot be stored on the device")?;
    let mut training = training(&net, &samples, treatment)?;
    training.begin(0, &batches.plan(0))?;
    let mut bits = Vec::new();
    for first in (0..STEPS).step_by(together) {
        let steps = first..first + together;
        let updates: Vec<Update> = steps.clone().map(|step| adam(step as i32 + 1)).collect();
        bits.extend(training.train(steps, &updates)?.iter().map(|result| result.loss));
    }
    training.store()?;
    for tensor in fer::train::weights::snapshot(&weights)?.values() {
        let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        bits.extend(values.into_iter().map(f64::from));
    }
    Ok(bits)
}

/// Adam's factors at step `t`, from 1, with Keras' settings.
fn adam(t: i32) -> Update {
    let correction = (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
    Update {
        new_in_mean: 0.1,
        new_in_square: 0.001,
        of_mean: (1e-3 * correction) as f32,
        of_square: 1.0,
        epsilon: 1e-7,
        ..Default::default()
    }
}

/// Trainings of few steps, with batches of two sizes and launches of several steps: for a memory checker, under which all is slow.
/// The notebook's network, and one with additions, whose batches are mixed, gradients clipped and weights averaged.
pub fn short(check: &mut Check) -> Result<(), Failure> {
    let resnet = ResnetConfig { widths: vec![8, 16], blocks: vec![1, 1], ..Default::default() };
    let joined = TrainConfig {
        optimizer: OptimizerConfig { algorithm: Algorithm::Sgd, clip_norm: Some(1.0), ..Default::default() },
        average: Some(AverageConfig { decay: 0.9 }),
        ..Default::default()
    };
    let trainings = [
        ("dcnn", Architecture::from(DcnnConfig::default()), TrainConfig::default(), None),
        ("resnet", resnet.into(), joined, Some(Mixup::default())),
    ];
    for (name, architecture, config, mixup) in trainings {
        for precision in [Precision::F32, Precision::Bf16] {
            let weights = VarMap::new();
            let compute = Compute { precision, deterministic: true };
            let net = network(&architecture, &weights, &check.device, compute)?;
            // Ten steps of eight faces, and one of three.
            let batches = LoaderConfig { batch_size: 8, ..Default::default() };
            let loader = Loader::new(Dataset::drawn(83, 42), batches)?;
            let mut train =
                DeviceLoader::new(loader, check.device.clone()).augmented(Augment::new(Default::default())?);
            if let Some(mixup) = mixup {
                train = train.mixed(mixup);
            }
            let trainer = Trainer::new(TrainConfig { epochs: 2, ..config.clone() })?;
            let outcome = trainer.fit(&net, &weights, &train, Some(&train), &mut [])?;
            let logits = net.forward(&random(&[8, 1, 48, 48], 7, &check.device)?, Mode::Eval)?;
            let mut numbers = [outcome.history.values("loss"), outcome.history.values("val_loss")].concat();
            numbers.push(norm(&logits.to_device(&Device::Cpu)?)?);
            let wrong = numbers.iter().filter(|number| !number.is_finite()).count() as f64;
            let what = format!("a short training of {name} in {precision}, results that are no number");
            check.distance(&what, wrong, 0.0)?;
        }
    }
    Ok(())
}
