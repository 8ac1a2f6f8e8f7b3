//! Trainings of several epochs on the emulated card against the CPU, step by step.

use candle_core::Result;
use candle_nn::VarMap;

use super::{Case, batch, correct, dcnn, distance, loss, plan, sorted, toned_training, training};
use crate::on_device::{BatchResult, EpochPlan, OnDevice, Samples, Stretch, Tone, Update};
use crate::{Mode, Network, Precision, Sequential, Step};

/// Adam's factors at step `t`, from 1.
fn adam(t: i32) -> Update {
    let correction = (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
    Update {
        new_in_mean: 0.1,
        new_in_square: 0.001,
        of_mean: (1e-3 * correction) as f32,
        of_gradient: 0.0,
        of_square: 1.0,
        epsilon: 1e-7,
    }
}

/// Trains on the CPU what the card is asked to, step by step.
fn train_on_cpu(
    case: &Case,
    net: &Sequential,
    vars: &VarMap,
    samples: &Samples,
    epochs: u32,
) -> Result<Vec<BatchResult>> {
    let variables = sorted(vars);
    let mut moments: Vec<_> =
        variables.iter().map(|var| [var.zeros_like(), var.zeros_like()].map(Result::unwrap)).collect();
    let (mut t, mut results) = (0, Vec::new());
    for epoch in 0..epochs {
        let plan = plan(case.samples, epoch);
        for (step, rows) in (0..).zip(plan.order.chunks(case.batch_size)) {
            let (images, labels) = batch(samples, rows)?;
            let mut result = BatchResult { samples: rows.len(), loss: 0.0, correct: 0 };
            let gradients = net.gradients(&images, Step { seed: 42, epoch, step }, &mut |logits| {
                result.correct = correct(logits, &labels)?;
                let sum = loss(logits, &labels, 0.0, None)?;
                result.loss = f64::from(sum.to_scalar::<f32>()?);
                sum / labels.len() as f64
            })?;
            results.push(result);
            t += 1;
            let u = adam(t);
            for (var, [m, v]) in variables.iter().zip(&mut moments) {
                let Some(g) = gradients.get(var) else { continue };
                *m = (m.affine(1.0 - f64::from(u.new_in_mean), 0.0)? + (g * f64::from(u.new_in_mean))?)?;
                *v = (v.affine(1.0 - f64::from(u.new_in_square), 0.0)?
                    + (g.sqr()? * f64::from(u.new_in_square))?)?;
                let step = ((&*m * f64::from(u.of_mean))? / (v.sqrt()? + f64::from(u.epsilon))?)?;
                var.set(&(var.as_tensor() - step)?)?;
            }
        }
    }
    Ok(results)
}

#[test]
fn replayed_steps_go_on_where_the_last_ended() {
    let case = dcnn(4);
    let (vars, reference) = (VarMap::new(), VarMap::new());
    let (net, cpu) = (case.network(&vars).unwrap(), case.network(&reference).unwrap());
    let samples = case.samples();
    let Some(mut training) = training(&case, &net, &samples, Precision::F32).unwrap() else { return };
    let mut results = Vec::new();
    let mut t = 0;
    for epoch in 0..4 {
        let plan = plan(case.samples, epoch);
        let steps = samples.steps();
        let updates: Vec<_> = (0..steps as i32).map(|step| adam(t + step + 1)).collect();
        t += steps as i32;
        results.extend(training.train(epoch, 0, &plan, &updates).unwrap());
    }
    let wanted = train_on_cpu(&case, &cpu, &reference, &samples, 4).unwrap();
    assert_eq!(results.len(), wanted.len());
    for (i, (a, b)) in results.iter().zip(&wanted).enumerate() {
        assert_eq!((a.samples, a.correct), (b.samples, b.correct), "step {i}: {a:?} {b:?}");
        assert!((a.loss - b.loss).abs() <= 2e-4 * b.loss, "step {i}: {a:?} {b:?}");
    }
    for (var, cpu) in sorted(&vars).iter().zip(sorted(&reference)) {
        assert!(distance(var, &cpu).unwrap() < 2e-3, "{:?} {}", var.shape(), distance(var, &cpu).unwrap());
    }

    let results = training.validate().unwrap();
    let mut first = 0;
    for result in results {
        let rows: Vec<u32> = (first..first + result.samples as u32).collect();
        first += result.samples as u32;
        let (images, labels) = batch(&samples, &rows).unwrap();
        let logits = net.forward(&images, Mode::Eval).unwrap();
        let wanted = loss(&logits, &labels, 0.0, None).unwrap().to_scalar::<f32>().unwrap();
        assert!((result.loss - f64::from(wanted)).abs() < 1e-4 * f64::from(wanted), "{result:?} {wanted}");
        assert_eq!(result.correct, correct(&logits, &labels).unwrap());
    }
    assert_eq!(first as usize, case.samples);
}

#[test]
fn tones_are_each_steps_own() {
    let case = dcnn(4);
    let samples = case.samples();
    let updates: Vec<_> = (1..=samples.steps() as i32).map(adam).collect();
    let train = |samples: &Samples, tones: Option<Stretch>, plan: &EpochPlan| {
        let net = case.network(&VarMap::new()).unwrap();
        let training = toned_training(&case, &net, samples, Precision::F32, tones).unwrap();
        training.map(|mut training| training.train(0, 0, plan, &updates))
    };
    // Every other image of the epoch turns black.
    let order = plan(case.samples, 0);
    let tone = |i: usize| Tone { shift: 0.0, brightness: (i.is_multiple_of(2)).then_some(0.0) };
    let toned = EpochPlan { tones: (0..case.samples).map(tone).collect(), ..order.clone() };
    let mut black = samples.clone();
    let area = samples.height * samples.width;
    for &row in order.order.iter().step_by(2) {
        black.pixels[row as usize * area..][..area].fill(0);
    }
    let Some(found) = train(&samples, Some(Stretch::Always), &toned) else { return };
    assert_eq!(found.unwrap(), train(&black, None, &order).unwrap().unwrap());
    for (tones, plan) in [(Some(Stretch::Always), &order), (None, &toned)] {
        let error = train(&samples, tones, plan).unwrap().unwrap_err().to_string();
        assert!(error.contains("the plan of epoch 1 is not for"), "{error}");
    }
}

#[test]
fn a_training_is_taken_up_with_its_moments() {
    let case = dcnn(4);
    let (vars, other_vars) = (VarMap::new(), VarMap::new());
    let (net, other) = (case.network(&vars).unwrap(), case.network(&other_vars).unwrap());
    let samples = case.samples();
    let Some(mut straight) = training(&case, &net, &samples, Precision::F32).unwrap() else { return };
    let plan = plan(case.samples, 0);
    let updates: Vec<_> = (1..=samples.steps() as i32).map(adam).collect();
    straight.train(0, 0, &plan, &updates).unwrap();
    let moments = straight.moments().unwrap();
    for (var, other) in sorted(&vars).iter().zip(sorted(&other_vars)) {
        other.set(&var.copy().unwrap()).unwrap();
    }
    let mut resumed = training(&case, &other, &samples, Precision::F32).unwrap().unwrap();
    let moments: Vec<_> = moments
        .into_iter()
        .map(|mut moments| {
            let at = sorted(&vars).iter().position(|var| var.id() == moments.variable).unwrap();
            moments.variable = sorted(&other_vars)[at].id();
            moments
        })
        .collect();
    resumed.set_moments(&moments).unwrap();
    // From the second step of the next epoch on.
    for training in [&mut straight, &mut resumed] {
        training.train(1, 1, &plan, &updates[1..]).unwrap();
    }
    for (var, other) in sorted(&vars).iter().zip(sorted(&other_vars)) {
        let [a, b] = [var, &other].map(|var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert_eq!(a, b);
    }
}
