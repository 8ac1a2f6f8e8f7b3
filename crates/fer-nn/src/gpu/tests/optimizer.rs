//! Optimisers on the emulated card against their formulas, step by step; averages, mixup, targets that are shares.

use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId};
use candle_nn::VarMap;

use super::chains::dcnn;
use super::{Subject, batch, correct, distance, loss, plan, sorted, training};
use crate::engine::{Engine, EpochPlan, Mix, Rule, Setup, StepResult, Update};
use crate::{Graph, Mode, Network, Precision, Step};

/// Adam's factors at step `t`, from 1.
pub fn adam(t: i32) -> Update {
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

/// SGD with Nesterov's momentum, and whatever else.
fn nesterov(update: Update) -> Update {
    Update { momentum: 0.9, of_mean: 0.9 * 0.05, of_gradient: 0.05, ..update }
}

/// Trains on the CPU what the card is asked to, by the formulas of `Update`.
pub struct Cpu<'a> {
    net: &'a Graph,
    vars: &'a VarMap,
    setup: &'a Setup<'a>,
    slots: HashMap<TensorId, [Tensor; 2]>,
    pub averages: HashMap<TensorId, Tensor>,
}

impl<'a> Cpu<'a> {
    pub fn new(net: &'a Graph, vars: &'a VarMap, setup: &'a Setup<'a>) -> Self {
        let zeros = |var: &candle_core::Var| [var.zeros_like(), var.zeros_like()].map(Result::unwrap);
        let slots = sorted(vars).iter().map(|var| (var.id(), zeros(var))).collect();
        let averages = sorted(vars).iter().map(|var| (var.id(), var.copy().unwrap())).collect();
        Self { net, vars, setup, slots, averages }
    }

    pub fn train(&mut self, epoch: u32, plan: &EpochPlan, updates: &[Update]) -> Result<Vec<StepResult>> {
        let &Setup { train, label_smoothing, class_weights, seed, .. } = self.setup;
        let mut results = Vec::new();
        for ((step, rows), u) in (0..).zip(plan.order.chunks(train.batch_size)).zip(updates) {
            let (mut images, mut targets) = batch(train, rows)?;
            if let Some(mix) = plan.mixes.get(step as usize) {
                let partners = Tensor::new(mix.partners.as_slice(), images.device())?;
                let blend = |x: &Tensor| {
                    (x * f64::from(mix.share))?
                        + (x.index_select(&partners, 0)? * f64::from(1.0 - mix.share))?
                };
                (images, targets) = (blend(&images)?, blend(&targets)?);
            }
            let mut result = StepResult { samples: rows.len(), loss: 0.0, correct: 0 };
            let gradients = self.net.gradients(&images, Step { seed, epoch, step }, &mut |logits| {
                result.correct = correct(logits, &targets)?;
                let sum = loss(logits, &targets, label_smoothing, class_weights)?;
                result.loss = f64::from(sum.to_scalar::<f32>()?);
                sum / rows.len() as f64
            })?;
            results.push(result);
            let variables = sorted(self.vars);
            let mut squares = 0.0;
            for g in variables.iter().filter_map(|var| gradients.get(var)) {
                squares += f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
            let clip = f64::from(u.clip);
            let factor = if clip > 0.0 { (clip / squares.sqrt()).min(1.0) } else { 1.0 };
            for var in &variables {
                if let Some(g) = gradients.get(var) {
                    self.update(var, g, factor, u)?;
                }
                let average = self.averages.get_mut(&var.id()).unwrap();
                *average = (&*average + ((var.as_tensor() - &*average)? * f64::from(u.new_in_average))?)?;
            }
        }
        Ok(results)
    }

    fn update(&mut self, var: &candle_core::Var, g: &Tensor, factor: f64, u: &Update) -> Result<()> {
        let [m, v] = self.slots.get_mut(&var.id()).unwrap();
        let decays = self.setup.decays_all || var.rank() > 1;
        let before = var.copy()?;
        let of = |part: f32| if decays { f64::from(part) } else { 0.0 };
        let g = ((g * factor)? + (&before * of(u.decay))?)?;
        let step = match self.setup.rule {
            Rule::Adaptive => {
                *m = (m.affine(1.0 - f64::from(u.new_in_mean), 0.0)? + (&g * f64::from(u.new_in_mean))?)?;
                *v = (v.affine(1.0 - f64::from(u.new_in_square), 0.0)?
                    + (g.sqr()? * f64::from(u.new_in_square))?)?;
                let top = ((&*m * f64::from(u.of_mean))? + (&g * f64::from(u.of_gradient))?)?;
                (top / ((&*v * f64::from(u.of_square))?.sqrt()? + f64::from(u.epsilon))?)?
            }
            Rule::Momentum => {
                *m = ((&*m * f64::from(u.momentum))? + &g)?;
                ((&*m * f64::from(u.of_mean))? + (&g * f64::from(u.of_gradient))?)?
            }
        };
        var.set(&((&before - step)? - (&before * of(u.shrink))?)?)
    }
}

/// Some epochs on the card and by the formulas: losses, hits, variables and averages.
fn check(subject: &Subject, setup: &Setup, plans: &[EpochPlan], update: &dyn Fn(i32) -> Update) {
    let (vars, reference) = (VarMap::new(), VarMap::new());
    let (net, cpu) = (subject.network(&vars).unwrap(), subject.network(&reference).unwrap());
    let Some(mut training) = training(&net, setup, Precision::F32).unwrap() else { return };
    let mut cpu = Cpu::new(&cpu, &reference, setup);
    let steps = subject.samples.steps();
    for (epoch, plan) in (0..).zip(plans) {
        let updates: Vec<_> =
            (0..steps).map(|step| update((epoch as usize * steps + step) as i32 + 1)).collect();
        training.begin(epoch, plan).unwrap();
        let found = training.train(0..steps, &updates).unwrap();
        training.store().unwrap();
        let wanted = cpu.train(epoch, plan, &updates).unwrap();
        for (step, (a, b)) in found.iter().zip(&wanted).enumerate() {
            assert_eq!((a.samples, a.correct), (b.samples, b.correct), "step {step}: {a:?} {b:?}");
            assert!((a.loss - b.loss).abs() <= 2e-4 * b.loss, "step {step}: {a:?} {b:?}");
        }
    }
    let slots = training.slots().unwrap();
    for (var, of_cpu) in sorted(&vars).iter().zip(sorted(&reference)) {
        let error = distance(var, &of_cpu).unwrap();
        assert!(error < 2e-3, "{:?} {error}", var.shape());
        let Some(slot) = slots.iter().find(|slot| slot.variable == var.id()) else { continue };
        assert_eq!(slot.average.is_some(), setup.averages);
        if let Some(average) = &slot.average {
            let error = distance(average, &cpu.averages[&of_cpu.id()]).unwrap();
            assert!(error < 2e-3, "average of {:?} {error}", var.shape());
        }
    }
    if !setup.averages {
        return;
    }
    assert_eq!(slots.len(), sorted(&vars).len());
    // What is validated are the averages.
    let found = training.validate(0..steps).unwrap();
    for (var, slot) in
        sorted(&vars).iter().map(|var| (var, slots.iter().find(|slot| slot.variable == var.id())))
    {
        var.set(slot.unwrap().average.as_ref().unwrap()).unwrap();
    }
    let rows: Vec<u32> = (0..subject.samples.len() as u32).collect();
    for (rows, found) in rows.chunks(subject.samples.batch_size).zip(found) {
        let (images, targets) = batch(&subject.samples, rows).unwrap();
        let logits = net.forward(&images, Mode::Eval).unwrap();
        let wanted = f64::from(subject.loss(&logits, &targets).unwrap().to_scalar::<f32>().unwrap());
        assert!((found.loss - wanted).abs() < 1e-4 * wanted, "{found:?} {wanted}");
        assert_eq!(found.correct, correct(&logits, &targets).unwrap());
    }
}

fn plans(samples: usize) -> Vec<EpochPlan> {
    (0..3).map(|epoch| plan(samples, epoch)).collect()
}

#[test]
fn nesterovs_momentum_with_decay_and_clipping_follows_its_formulas() {
    dcnn(4).with(|subject| {
        let plans = plans(subject.samples.len());
        for (decay, clip, decays_all) in [(0.1, 0.0, false), (0.1, 0.0, true), (0.01, 0.5, false)] {
            let setup = Setup { rule: Rule::Momentum, decays_all, ..subject.setup() };
            check(subject, &setup, &plans, &|_| nesterov(Update { decay, clip, ..Default::default() }));
        }
    });
}

#[test]
fn adam_with_decoupled_decay_and_clipping_follows_its_formulas() {
    dcnn(4).with(|subject| {
        let plans = plans(subject.samples.len());
        check(subject, &subject.setup(), &plans, &|t| Update { shrink: 0.02, clip: 0.7, ..adam(t) });
        // Clipped in some steps only.
        check(subject, &subject.setup(), &plans, &|t| Update { clip: (t % 2) as f32, ..adam(t) });
    });
}

#[test]
fn averages_are_of_weights_and_statistics_and_are_what_is_validated() {
    dcnn(4).with(|subject| {
        let setup = Setup { rule: Rule::Momentum, averages: true, ..subject.setup() };
        let update =
            |t: i32| nesterov(Update { new_in_average: 1.0 / (t as f32 + 1.0), ..Default::default() });
        check(subject, &setup, &plans(subject.samples.len()), &update);
    });
}

#[test]
fn validation_by_averages_in_bfloat16_reads_their_copies() {
    dcnn(8).with(|subject| {
        let vars = VarMap::new();
        let net = subject.network(&vars).unwrap();
        let setup = Setup { averages: true, ..subject.setup() };
        let Some(mut training) = training(&net, &setup, Precision::Bf16).unwrap() else { return };
        training.begin(0, &plan(11, 0)).unwrap();
        let before = training.validate(0..3).unwrap();
        // Averages that take in nothing stay.
        let far = |t| Update { of_mean: 0.5, ..adam(t) };
        training.train(0..3, &[far(1), far(2), far(3)]).unwrap();
        assert_eq!(training.validate(0..3).unwrap(), before);
        training.train(0..1, &[Update { new_in_average: 1.0, ..far(4) }]).unwrap();
        assert_ne!(training.validate(0..3).unwrap(), before);
    });
}

#[test]
fn blended_batches_and_shares_of_classes_follow_the_cpus_training() {
    let case = dcnn(4);
    case.with(|subject| {
        let mut samples = subject.samples.clone();
        for (i, target) in samples.targets.chunks_mut(3).enumerate().skip(3) {
            let shares = [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.75, 0.25]][i % 3];
            target.copy_from_slice(&shares);
        }
        let weights = vec![0.5, 1.5, 1.0];
        let shared = Subject {
            network: subject.network,
            samples: samples.clone(),
            label_smoothing: 0.1,
            class_weights: Some(weights),
        };
        let mut plans = plans(samples.len());
        // The second epoch is not blended.
        for plan in plans.iter_mut().step_by(2) {
            let mix = |step: usize| {
                let len = samples.batch(step) as u32;
                Mix { share: 0.3 + 0.2 * step as f32, partners: (0..len).map(|i| (i + 1) % len).collect() }
            };
            plan.mixes = (0..samples.steps()).map(mix).collect();
        }
        check(&shared, &Setup { valid: None, ..shared.setup() }, &plans, &adam);
        let net = shared.network(&VarMap::new()).unwrap();
        let Some(mut training) = training(&net, &shared.setup(), Precision::F32).unwrap() else { return };
        plans[0].mixes[2].partners[0] = 3;
        let error = training.begin(0, &plans[0]).unwrap_err().to_string();
        assert!(error.contains("blends step 2 in another way than 3 images"), "{error}");
    });
}
