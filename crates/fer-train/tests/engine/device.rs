//! A network of one layer, and a plain device for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use candle_core::{DType, Device, Tensor, TensorId, Var};
use candle_nn::{Init, Linear, Module, VarBuilder, VarMap};
use fer_nn::engine::{Engine, EpochPlan, Rule, Samples, Setup, Slots, StepResult, Update};
use fer_nn::{Mode, Network};
use fer_train::{Batch, LossConfig, count_correct, cross_entropy};

/// One dense layer, and the number of the training passes as a moving statistic.
#[derive(Clone)]
pub struct Line {
    layer: Linear,
    passes: Var,
    /// Whether it has an engine, and how long that takes for a step.
    engine: Option<Duration>,
}

impl Line {
    pub fn new(weights: &VarMap, engine: Option<Duration>) -> Self {
        let vb = VarBuilder::from_varmap(weights, DType::F32, &Device::Cpu);
        let layer = candle_nn::linear(4, 3, vb.pp("line")).unwrap();
        // The initial weights of every test are the same.
        for var in weights.all_vars() {
            let values: Vec<f32> = (0..var.elem_count()).map(|k| (k * 7 % 5) as f32 / 5.0 - 0.4).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        weights.get(1, "passes", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
        let passes = weights.data().lock().unwrap()["passes"].clone();
        Self { layer, passes, engine }
    }

    fn variables(&self) -> [Var; 3] {
        let [weight, bias] = [self.layer.weight(), self.layer.bias().unwrap()];
        [Var::from_tensor(weight).unwrap(), Var::from_tensor(bias).unwrap(), self.passes.clone()]
    }
}

impl Network for Line {
    fn forward(&self, images: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        if let Mode::Train(_) = mode {
            self.passes.set(&(self.passes.as_tensor() + 1.0)?)?;
        }
        self.layer.forward(&images.flatten_from(1)?)
    }

    fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    fn engine(&self, setup: &Setup) -> candle_core::Result<Option<Box<dyn Engine>>> {
        let Some(step) = self.engine else { return Ok(None) };
        let loss = LossConfig {
            label_smoothing: setup.label_smoothing,
            class_weights: setup.class_weights.map(<[f64]>::to_vec),
            ..Default::default()
        };
        // A device has a memory of its own.
        let weights = VarMap::new();
        let device = Line::new(&weights, None);
        Ok(Some(Box::new(Plain {
            host: self.variables(),
            network: device,
            kept: BTreeMap::new(),
            averages: Vec::new(),
            averaged: setup.averages,
            decays_all: setup.decays_all,
            rule: setup.rule,
            train: setup.train.clone(),
            valid: setup.valid.cloned(),
            loss,
            plan: EpochPlan::default(),
            step,
        })))
    }
}

struct Plain {
    /// The variables of the network, and a network of the device's own.
    host: [Var; 3],
    network: Line,
    /// By the place of the variable.
    kept: BTreeMap<usize, [Tensor; 2]>,
    averages: Vec<Tensor>,
    averaged: bool,
    decays_all: bool,
    rule: Rule,
    train: Samples,
    valid: Option<Samples>,
    loss: LossConfig,
    plan: EpochPlan,
    step: Duration,
}

pub fn batch(samples: &Samples, rows: &[u32]) -> candle_core::Result<Batch> {
    let pixels = rows.iter().flat_map(|&row| &samples.pixels[row as usize * 4..][..4]);
    let pixels: Vec<f32> = pixels.map(|&pixel| f32::from(pixel) / 255.0).collect();
    let targets = rows.iter().flat_map(|&row| &samples.targets[row as usize * 3..][..3]).copied();
    Ok(Batch {
        images: Tensor::from_vec(pixels, (rows.len(), 1, 2, 2), &Device::Cpu)?,
        targets: Tensor::from_vec(targets.collect(), (rows.len(), 3), &Device::Cpu)?,
    })
}

impl Plain {
    fn measure(
        &self,
        batch: &Batch,
        loss: &LossConfig,
        mode: Mode,
    ) -> candle_core::Result<(Tensor, StepResult)> {
        std::thread::sleep(self.step);
        let logits = self.network.forward(&batch.images, mode)?;
        let samples = logits.dim(0)?;
        let mean = cross_entropy(&logits, &batch.targets, loss).map_err(candle_core::Error::wrap)?;
        let correct = count_correct(&logits, &batch.targets).map_err(candle_core::Error::wrap)? as u32;
        let loss = f64::from(mean.to_scalar::<f32>()?) * samples as f64;
        Ok((mean, StepResult { samples, loss, correct }))
    }

    fn place(&self, variable: TensorId) -> usize {
        self.host.iter().position(|var| var.id() == variable).unwrap()
    }
}

impl Engine for Plain {
    fn begin(&mut self, _: u32, plan: &EpochPlan) -> candle_core::Result<()> {
        self.plan = plan.clone();
        self.network.variables().iter().zip(&self.host).try_for_each(|(own, host)| own.set(host))
    }

    fn train(&mut self, steps: Range<usize>, updates: &[Update]) -> candle_core::Result<Vec<StepResult>> {
        assert_eq!(steps.len(), updates.len());
        let mut results = Vec::new();
        for (step, u) in steps.zip(updates) {
            let first = step * self.train.batch_size;
            let rows = &self.plan.order[first..][..self.train.batch_size.min(self.train.len() - first)];
            let batch = batch(&self.train, rows)?;
            let (mean, result) = self.measure(&batch, &self.loss, Mode::Train(Default::default()))?;
            results.push(result);
            let gradients = mean.backward()?;
            let variables = self.network.variables();
            let float = |x: f32| f64::from(x);
            let squares = |var: &Var| {
                gradients.get(var).map_or(0.0, |g| {
                    f64::from(g.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap())
                })
            };
            let norm = variables.iter().map(squares).sum::<f64>().sqrt();
            let scale = if u.clip > 0.0 { (float(u.clip) / (norm + 1e-6)).min(1.0) } else { 1.0 };
            for (place, var) in variables.iter().enumerate() {
                let Some(g) = gradients.get(var) else { continue };
                let (decay, shrink) =
                    if self.decays_all || var.rank() > 1 { (u.decay, u.shrink) } else { (0.0, 0.0) };
                let g = ((g * scale)? + (var.as_tensor() * float(decay))?)?;
                let zeros = || [var.zeros_like().unwrap(), var.zeros_like().unwrap()];
                let [m, v] = self.kept.entry(place).or_insert_with(zeros);
                let above = |m: &Tensor| (m * float(u.of_mean))? + (&g * float(u.of_gradient))?;
                let way = match self.rule {
                    Rule::Adaptive => {
                        *m = (&*m + ((&g - &*m)? * float(u.new_in_mean))?)?;
                        *v = (&*v + ((g.sqr()? - &*v)? * float(u.new_in_square))?)?;
                        (above(m)? / ((&*v * float(u.of_square))?.sqrt()? + float(u.epsilon))?)?
                    }
                    Rule::Momentum => {
                        *m = ((&*m * float(u.momentum))? + &g)?;
                        above(m)?
                    }
                };
                var.set(&((var.as_tensor() * (1.0 - float(shrink)))? - way)?)?;
            }
            if self.averaged {
                for (average, var) in self.averages.iter_mut().zip(&variables) {
                    *average = (&*average + ((var.as_tensor() - &*average)? * float(u.new_in_average))?)?;
                }
            }
        }
        Ok(results)
    }

    fn validate(&mut self, steps: Range<usize>) -> candle_core::Result<Vec<StepResult>> {
        let Some(valid) = &self.valid else { return Ok(Vec::new()) };
        let variables = self.network.variables();
        let raw = variables.clone().map(|var| var.copy().unwrap());
        if self.averaged {
            variables.iter().zip(&self.averages).try_for_each(|(var, average)| var.set(average))?;
        }
        let rows: Vec<u32> = (0..valid.len() as u32).collect();
        let loss = LossConfig { class_weights: None, ..self.loss.clone() };
        let chunks = rows.chunks(valid.batch_size).skip(steps.start).take(steps.len());
        let results =
            chunks.map(|rows| Ok(self.measure(&batch(valid, rows)?, &loss, Mode::Eval)?.1)).collect();
        variables.iter().zip(&raw).try_for_each(|(var, raw)| var.set(raw))?;
        results
    }

    fn store(&mut self) -> candle_core::Result<()> {
        self.network.variables().iter().zip(&self.host).try_for_each(|(own, host)| host.set(own))
    }

    fn slots(&self) -> candle_core::Result<Vec<Slots>> {
        let slots = |(place, var): (usize, &Var)| {
            let kept = self.kept.get(&place);
            Slots {
                variable: var.id(),
                m: kept.map(|[m, _]| m.clone()),
                v: kept.filter(|_| self.rule == Rule::Adaptive).map(|[_, v]| v.clone()),
                average: self.averages.get(place).cloned(),
            }
        };
        Ok(self.host.iter().enumerate().map(slots).collect())
    }

    fn set_slots(&mut self, slots: &[Slots]) -> candle_core::Result<()> {
        self.averages.resize(if self.averaged { 3 } else { 0 }, self.host[0].as_detached_tensor());
        for Slots { variable, m, v, average } in slots {
            let place = self.place(*variable);
            if let Some(m) = m {
                self.kept.insert(place, [m.clone(), v.clone().unwrap_or(m.zeros_like()?)]);
            }
            if let Some(average) = average {
                self.averages[place] = average.copy()?;
            }
        }
        Ok(())
    }
}
