//! Trainings of several epochs on the emulated card against the CPU, step by step.

use candle_core::Result;
use candle_nn::VarMap;

use super::chains::dcnn;
use super::optimizer::{Cpu, adam};
use super::{batch, correct, distance, loss, plan, sorted, training};
use crate::engine::{Change, Engine, EpochPlan, Samples, Setup, Stretch, Treatment};
use crate::{Mode, Network, Precision};

#[test]
fn replayed_steps_go_on_where_the_last_ended() {
    dcnn(4).with(|subject| {
        let (vars, reference) = (VarMap::new(), VarMap::new());
        let (net, cpu) = (subject.network(&vars).unwrap(), subject.network(&reference).unwrap());
        let samples = &subject.samples;
        let setup = subject.setup();
        let Some(mut training) = training(&net, &setup, Precision::F32).unwrap() else { return };
        let mut cpu = Cpu::new(&cpu, &reference, &setup);
        let (mut results, mut wanted) = (Vec::new(), Vec::new());
        let mut t = 0;
        for epoch in 0..4 {
            let plan = plan(samples.len(), epoch);
            let steps = samples.steps();
            let updates: Vec<_> = (0..steps as i32).map(|step| adam(t + step + 1)).collect();
            t += steps as i32;
            training.begin(epoch, &plan).unwrap();
            results.extend(training.train(0..steps, &updates).unwrap());
            training.store().unwrap();
            wanted.extend(cpu.train(epoch, &plan, &updates).unwrap());
        }
        assert_eq!(results.len(), wanted.len());
        for (i, (a, b)) in results.iter().zip(&wanted).enumerate() {
            assert_eq!((a.samples, a.correct), (b.samples, b.correct), "step {i}: {a:?} {b:?}");
            assert!((a.loss - b.loss).abs() <= 2e-4 * b.loss, "step {i}: {a:?} {b:?}");
        }
        for (var, cpu) in sorted(&vars).iter().zip(sorted(&reference)) {
            let error = distance(var, &cpu).unwrap();
            assert!(error < 2e-3, "{:?} {error}", var.shape());
        }

        let results = training.validate(0..samples.steps()).unwrap();
        let mut first = 0;
        for result in results {
            let rows: Vec<u32> = (first..first + result.samples as u32).collect();
            first += result.samples as u32;
            let (images, targets) = batch(samples, &rows).unwrap();
            let logits = net.forward(&images, Mode::Eval).unwrap();
            let wanted = loss(&logits, &targets, 0.0, None).unwrap().to_scalar::<f32>().unwrap();
            assert!(
                (result.loss - f64::from(wanted)).abs() < 1e-4 * f64::from(wanted),
                "{result:?} {wanted}"
            );
            assert_eq!(result.correct, correct(&logits, &targets).unwrap());
        }
        assert_eq!(first as usize, samples.len());
    });
}

/// The values of all variables.
fn values(vars: &VarMap) -> Vec<Vec<f32>> {
    sorted(vars).iter().map(|var| var.flatten_all().unwrap().to_vec1().unwrap()).collect()
}

#[test]
fn ranges_of_steps_are_the_epoch_to_the_bit() {
    // Of 3 steps, and of 11, of which 8 are one launch where they are in one range.
    same_by_ranges(4, &[&[3], &[1, 3], &[2, 3]]);
    same_by_ranges(1, &[&[11], &[5, 11]]);
}

/// Two epochs by ranges of steps with these ends give the same, whichever they are.
fn same_by_ranges(batch: usize, all_ends: &[&[usize]]) {
    dcnn(4).with(|subject| {
        let samples = &Samples { batch_size: batch, ..subject.samples.clone() };
        let setup = Setup { train: samples, valid: Some(samples), ..subject.setup() };
        let steps = samples.steps();
        let plan = plan(samples.len(), 1);
        let updates: Vec<_> = (1..=steps as i32).map(adam).collect();
        let run = |ends: &[usize]| -> Option<_> {
            let starts = [0].iter().chain(ends);
            let ranges: Vec<_> = starts.zip(ends).map(|(&start, &end)| start..end).collect();
            let vars = VarMap::new();
            let net = subject.network(&vars).unwrap();
            let mut training = training(&net, &setup, Precision::Bf16).unwrap()?;
            let (mut results, mut validated) = (Vec::new(), Vec::new());
            for epoch in 0..2 {
                training.begin(epoch, &plan).unwrap();
                for steps in &ranges {
                    results.extend(training.train(steps.clone(), &updates[steps.clone()]).unwrap());
                }
                for steps in &ranges {
                    validated.extend(training.validate(steps.clone()).unwrap());
                }
                training.store().unwrap();
            }
            Some((results, validated, values(&vars)))
        };
        assert!(all_ends.iter().all(|ends| ends.last() == Some(&steps)));
        let whole = run(all_ends[0]);
        for ends in &all_ends[1..] {
            assert_eq!(whole, run(ends), "{ends:?}");
        }
    });
}

#[test]
fn the_last_batch_is_left_out_where_that_is_asked_for() {
    dcnn(4).with(|subject| {
        let samples = Samples { drop_last: true, ..subject.samples.clone() };
        assert_eq!((samples.len(), samples.batch_size, samples.steps()), (11, 4, 2));
        let net = subject.network(&VarMap::new()).unwrap();
        let setup = Setup { train: &samples, ..subject.setup() };
        let Some(mut training) = training(&net, &setup, Precision::F32).unwrap() else { return };
        training.begin(0, &plan(11, 0)).unwrap();
        let results = training.train(0..2, &[adam(1), adam(2)]).unwrap();
        assert!(results.iter().all(|result| result.samples == 4));
        let error = training.train(2..3, &[adam(3)]).unwrap_err().to_string();
        assert!(error.contains("steps 2..3 of an epoch of 2"), "{error}");
        assert_eq!(training.validate(0..3).unwrap().len(), 3);
    });
}

#[test]
fn changes_of_pixels_are_each_steps_own() {
    dcnn(4).with(|subject| {
        let samples = &subject.samples;
        let steps = samples.steps();
        let updates: Vec<_> = (1..=steps as i32).map(adam).collect();
        let train = |samples: &Samples, plan: &EpochPlan| {
            let net = subject.network(&VarMap::new()).unwrap();
            let treatment = Treatment { stretch: Stretch::Always, ..Default::default() };
            let setup = Setup { train: samples, treatment, ..subject.setup() };
            let training = training(&net, &setup, Precision::F32).unwrap();
            training.map(|mut training| {
                training.begin(0, plan)?;
                training.train(0..steps, &updates)
            })
        };
        // Every other image of the epoch turns black.
        let order = plan(samples.len(), 0);
        let change =
            |i: usize| Change { brightness: i.is_multiple_of(2).then_some(0.0), ..Default::default() };
        let changed = EpochPlan { changes: (0..samples.len()).map(change).collect(), ..order.clone() };
        let mut black = samples.clone();
        let area = samples.height * samples.width;
        // Brightness makes bytes of the others too.
        for (i, &row) in order.order.iter().enumerate() {
            let pixels = &mut black.pixels[row as usize * area..][..area];
            if i.is_multiple_of(2) {
                pixels.fill(0);
            }
        }
        let Some(found) = train(samples, &changed) else { return };
        assert_eq!(found.unwrap(), train(&black, &order).unwrap().unwrap());
        for plan in [
            EpochPlan { changes: changed.changes[1..].to_vec(), ..order.clone() },
            EpochPlan { order: order.order[1..].to_vec(), ..order.clone() },
        ] {
            let error = train(samples, &plan).unwrap().unwrap_err().to_string();
            assert!(error.contains("the plan of epoch 1 is not for"), "{error}");
        }
    });
}

#[test]
fn a_training_is_taken_up_with_its_slots() {
    dcnn(4).with(|subject| {
        let (vars, other_vars) = (VarMap::new(), VarMap::new());
        let (net, other) = (subject.network(&vars).unwrap(), subject.network(&other_vars).unwrap());
        let setup = Setup { averages: true, ..subject.setup() };
        let Some(mut straight) = training(&net, &setup, Precision::F32).unwrap() else { return };
        let plan = plan(subject.samples.len(), 0);
        let updates: Vec<_> = (1..=subject.samples.steps() as i32)
            .map(|t| crate::engine::Update { new_in_average: 0.1, ..adam(t) })
            .collect();
        straight.begin(0, &plan).unwrap();
        straight.train(0..3, &updates).unwrap();
        straight.store().unwrap();
        let slots = straight.slots().unwrap();
        for (var, other) in sorted(&vars).iter().zip(sorted(&other_vars)) {
            other.set(&var.copy().unwrap()).unwrap();
        }
        let mut resumed = training(&other, &setup, Precision::F32).unwrap().unwrap();
        let slots: Vec<_> = slots
            .into_iter()
            .map(|mut slots| {
                let at = sorted(&vars).iter().position(|var| var.id() == slots.variable).unwrap();
                slots.variable = sorted(&other_vars)[at].id();
                slots
            })
            .collect();
        // Moving statistics have averages too.
        assert_eq!(slots.len(), sorted(&vars).len());
        resumed.set_slots(&slots).unwrap();
        // From the second step of the next epoch on.
        let mut results = Vec::new();
        for training in [&mut straight, &mut resumed] {
            training.begin(1, &plan).unwrap();
            results.push((training.train(1..3, &updates[1..]).unwrap(), training.validate(0..3).unwrap()));
            training.store().unwrap();
        }
        assert_eq!(results[0], results[1]);
        assert_eq!(values(&vars), values(&other_vars));
    });
}

#[test]
fn what_is_not_begun_or_not_kept_is_an_error() {
    dcnn(4)
        .with(|subject| -> Result<()> {
            let net = subject.network(&VarMap::new())?;
            let setup = Setup { valid: None, ..subject.setup() };
            let Some(mut training) = training(&net, &setup, Precision::F32)? else { return Ok(()) };
            let error = |result: Result<_>| result.map(|_: Vec<_>| ()).unwrap_err().to_string();
            assert!(error(training.train(0..1, &[adam(1)])).contains("no epoch was begun"));
            assert!(error(training.validate(0..1)).contains("no samples to validate on"));
            training.begin(0, &plan(subject.samples.len(), 0))?;
            assert!(error(training.train(0..2, &[adam(1)])).contains("1 updates for 2 steps"));
            let mut slots = training.slots()?;
            slots[0].average = slots[0].m.clone();
            assert!(training.set_slots(&slots).unwrap_err().to_string().contains("does not keep"));
            Ok(())
        })
        .unwrap();
}
