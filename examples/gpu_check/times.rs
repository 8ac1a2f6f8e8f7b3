//! Speed.

use std::time::Instant;

use candle_core::Device;
use candle_nn::VarMap;
use fer::model::DcnnConfig;
use fer::nn::engine::{Change, EpochPlan, Treatment, Update};
use fer::nn::{Compute, Mode, Network, Precision};
use serde_json::json;

use crate::{Check, Failure, dcnn, random, samples, training};

/// Training steps and inference at each size and precision, those that matter most first.
pub fn times(check: &mut Check) -> Result<(), Failure> {
    for precision in [Precision::Bf16, Precision::Tf32, Precision::F32] {
        for (batch, steps) in [(32, 600), (1024, 20)] {
            let times = step_times(&check.device, precision, batch, steps)?;
            time(check, "train_step", batch, batch, precision, &times)?;
        }
        let times = inference_times(&check.device, precision, 4096)?;
        time(check, "inference", 4096, 4096, precision, &times)?;
    }
    Ok(())
}

/// Tells and writes the median of the seconds in which so many images were worked on.
pub fn time(
    check: &mut Check,
    work: &str,
    batch: usize,
    images: usize,
    precision: Precision,
    times: &[f64],
) -> Result<(), Failure> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (median, min, max) = (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]);
    let per_second = images as f64 / median;
    println!("{work}, batch {batch}, {precision}: {:.3} ms, {per_second:.0} images/s", median * 1e3);
    let card = &check.card;
    check.say(json!({
        "work": work, "batch": batch, "images": images, "precision": precision.to_string(), "seconds": median, "min": min,
        "max": max, "repetitions": times.len(), "card": card,
    }))
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
    let net = dcnn(&weights, device, compute)?;
    let count = batch * steps;
    let mut training = training(&net, &samples(count, batch)?, Treatment::default())?;
    let change = Change { map: Some(([0.97, -0.1, 0.1, 0.97], [3.0, -1.5])), ..Default::default() };
    let (order, changes) = ((0..count as u32).collect(), vec![change; count]);
    let plan = EpochPlan { order, changes, mixes: Vec::new() };
    let update = Update {
        new_in_mean: 0.1,
        new_in_square: 0.001,
        of_mean: 1e-3,
        of_square: 1.0,
        epsilon: 1e-7,
        ..Default::default()
    };
    let mut times = Vec::new();
    for epoch in 0..11 {
        let started = Instant::now();
        training.begin(epoch, &plan)?;
        let results = training.train(0..steps, &vec![update; steps])?;
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
    dcnn(&weights, device, compute)?;
    let tensors = weights.data().lock().map_err(|_| "poisoned")?;
    let tensors = tensors.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
    let vb = candle_nn::VarBuilder::from_tensors(tensors, candle_core::DType::F32, device);
    let net = DcnnConfig::default().network(vb)?.compute(compute);
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
