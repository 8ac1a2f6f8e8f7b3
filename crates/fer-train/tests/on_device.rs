//! A training that stays on a device is, to whoever asks for it, the one that does not. The device here is a plain one:
//! it does what it is told with the network's own passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Linear, Module, VarBuilder, VarMap};
use fer_nn::on_device::{BatchResult, EpochPlan, Moments, OnDevice, Samples, Setup, Update};
use fer_nn::{Mode, Network};
use fer_train::{
    Algorithm, Batch, BatchLog, Batches, BoxError, Callback, Ended, Epoch, Error, LossConfig,
    OptimizerConfig, Outcome, Stored, TrainConfig, Trainer, count_correct, cross_entropy,
};

const SAMPLES: usize = 27;
const BATCH: usize = 4;

/// One dense layer.
#[derive(Clone)]
struct Line {
    layer: Linear,
    /// Whether it trains on the device.
    on_device: bool,
}

impl Line {
    fn new(weights: &VarMap, on_device: bool) -> Self {
        let vb = VarBuilder::from_varmap(weights, DType::F32, &Device::Cpu);
        let layer = candle_nn::linear(4, 3, vb.pp("line")).unwrap();
        // The initial weights of every test are the same.
        for var in weights.all_vars() {
            let values: Vec<f32> = (0..var.elem_count()).map(|k| (k * 7 % 5) as f32 / 5.0 - 0.4).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        Self { layer, on_device }
    }
}

impl Network for Line {
    fn forward(&self, images: &Tensor, _: Mode) -> candle_core::Result<Tensor> {
        self.layer.forward(&images.flatten_from(1)?)
    }

    fn on_device(&self, setup: &Setup) -> candle_core::Result<Option<Box<dyn OnDevice>>> {
        let weights = self.layer.weight().clone();
        let bias = self.layer.bias().unwrap().clone();
        let variables = [weights, bias].map(|tensor| Var::from_tensor(&tensor).unwrap());
        let moments = variables.clone().map(|var| [var.zeros_like().unwrap(), var.zeros_like().unwrap()]);
        let loss = LossConfig {
            label_smoothing: setup.label_smoothing,
            class_weights: setup.class_weights.map(<[f64]>::to_vec),
        };
        let (train, valid) = (setup.train.clone(), setup.valid.cloned());
        let plain = Plain { network: self.clone(), variables, moments, train, valid, loss };
        Ok(self.on_device.then(|| Box::new(plain) as Box<dyn OnDevice>))
    }
}

struct Plain {
    network: Line,
    variables: [Var; 2],
    moments: [[Tensor; 2]; 2],
    train: Samples,
    valid: Option<Samples>,
    loss: LossConfig,
}

fn batch(samples: &Samples, rows: &[u32]) -> candle_core::Result<Batch> {
    let pixels = rows.iter().flat_map(|&row| &samples.pixels[row as usize * 4..][..4]);
    let pixels: Vec<f32> = pixels.map(|&pixel| f32::from(pixel) / 255.0).collect();
    let labels: Vec<u32> = rows.iter().map(|&row| samples.labels[row as usize]).collect();
    Ok(Batch {
        images: Tensor::from_vec(pixels, (rows.len(), 1, 2, 2), &Device::Cpu)?,
        labels: Tensor::new(labels, &Device::Cpu)?,
    })
}

impl Plain {
    fn measure(&self, batch: &Batch, loss: &LossConfig) -> candle_core::Result<(Tensor, BatchResult)> {
        let logits = self.network.forward(&batch.images, Mode::Eval)?;
        let samples = logits.dim(0)?;
        let mean = cross_entropy(&logits, &batch.labels, loss).map_err(candle_core::Error::wrap)?;
        let correct = count_correct(&logits, &batch.labels).map_err(candle_core::Error::wrap)? as u32;
        let loss = f64::from(mean.to_scalar::<f32>()?) * samples as f64;
        Ok((mean, BatchResult { samples, loss, correct }))
    }
}

impl OnDevice for Plain {
    fn train(
        &mut self,
        _: u32,
        first: usize,
        plan: &EpochPlan,
        updates: &[Update],
    ) -> candle_core::Result<Vec<BatchResult>> {
        let mut results = Vec::new();
        for (rows, u) in plan.order.chunks(self.train.batch_size).skip(first).zip(updates) {
            let batch = batch(&self.train, rows)?;
            let (mean, result) = self.measure(&batch, &self.loss)?;
            results.push(result);
            let gradients = mean.backward()?;
            for (var, [m, v]) in self.variables.iter().zip(&mut self.moments) {
                let g = gradients.get(var).unwrap();
                let factor = |x: f32| f64::from(x);
                *m = (&*m + ((g - &*m)? * factor(u.new_in_mean))?)?;
                *v = (&*v + ((g.sqr()? - &*v)? * factor(u.new_in_square))?)?;
                let above = ((&*m * factor(u.of_mean))? + (g * factor(u.of_gradient))?)?;
                let below = ((&*v * factor(u.of_square))?.sqrt()? + factor(u.epsilon))?;
                var.set(&(var.as_tensor() - (above / below)?)?)?;
            }
        }
        Ok(results)
    }

    fn validate(&mut self) -> candle_core::Result<Vec<BatchResult>> {
        let Some(valid) = &self.valid else { return Ok(Vec::new()) };
        let rows: Vec<u32> = (0..valid.labels.len() as u32).collect();
        let loss = LossConfig { class_weights: None, ..self.loss.clone() };
        rows.chunks(valid.batch_size).map(|rows| Ok(self.measure(&batch(valid, rows)?, &loss)?.1)).collect()
    }

    fn moments(&self) -> candle_core::Result<Vec<Moments>> {
        let moments = self.variables.iter().zip(&self.moments);
        Ok(moments.map(|(var, [m, v])| Moments { variable: var.id(), m: m.clone(), v: v.clone() }).collect())
    }

    fn set_moments(&mut self, moments: &[Moments]) -> candle_core::Result<()> {
        for Moments { variable, m, v } in moments {
            let at = self.variables.iter().position(|var| var.id() == *variable).unwrap();
            self.moments[at] = [m.clone(), v.clone()];
        }
        Ok(())
    }
}

/// Images whose class is their brightest pixel of the first three, in an order that turns with the epoch.
struct Faces(Samples);

impl Faces {
    fn new(samples: usize) -> Self {
        let pixels: Vec<u8> = (0..samples * 4).map(|i| (i * i * 37 % 251) as u8).collect();
        let brightest = |image: &[u8]| (0..3).max_by_key(|&class| image[class as usize]).unwrap();
        let labels = pixels.chunks(4).map(brightest).collect();
        Self(Samples { pixels, labels, height: 2, width: 2, batch_size: BATCH })
    }

    fn order(&self, epoch: u32) -> Vec<u32> {
        let samples = self.samples() as u32;
        (0..samples).map(|i| (i + epoch * 5) % samples).collect()
    }
}

impl Batches for Faces {
    fn samples(&self) -> usize {
        self.0.labels.len()
    }

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        let order = self.order(epoch);
        Box::new((0..self.steps()).map(move |step| {
            let rows = order.chunks(BATCH).nth(step).unwrap();
            Ok::<_, BoxError>(batch(&self.0, rows)?)
        }))
    }

    fn stored(&self) -> Option<Stored> {
        Some(Stored { samples: self.0.clone(), edge: Default::default(), tones: None })
    }

    fn plan(&self, epoch: u32) -> EpochPlan {
        EpochPlan {
            order: self.order(epoch),
            warps: vec![Default::default(); self.samples()],
            tones: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Logs(Vec<BatchLog>);

impl Callback for Logs {
    fn name(&self) -> &str {
        "Logs"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.0.push(BatchLog { seconds: 0.0, ..*log });
    }
}

fn config(epochs: u32, algorithm: Algorithm) -> TrainConfig {
    let optimizer = OptimizerConfig { algorithm, learning_rate: 0.05, ..Default::default() };
    let loss = LossConfig { label_smoothing: 0.1, class_weights: Some(vec![1.0, 0.5, 2.0]) };
    TrainConfig { epochs, optimizer, loss, ..Default::default() }
}

fn values(weights: &VarMap) -> Vec<f32> {
    let data = weights.data().lock().unwrap();
    let mut names: Vec<_> = data.iter().collect();
    names.sort_by_key(|(name, _)| name.to_string());
    names.into_iter().flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

fn without_seconds(mut outcome: Outcome) -> Outcome {
    outcome.history.epochs.iter_mut().for_each(|log| log.seconds = 0.0);
    outcome
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5)
}

#[test]
fn history_logs_and_weights_are_those_of_a_training_batch_by_batch() {
    for algorithm in [Algorithm::Adam, Algorithm::Nadam] {
        let run = |on_device: bool| {
            let weights = VarMap::new();
            let network = Line::new(&weights, on_device);
            let (train, valid) = (Faces::new(SAMPLES), Faces::new(10));
            let mut logs = Logs::default();
            let trainer = Trainer::new(config(3, algorithm)).unwrap();
            let outcome = trainer.fit(&network, &weights, &train, Some(&valid), &mut [&mut logs]).unwrap();
            (outcome, logs.0, values(&weights))
        };
        let (device, plain) = (run(true), run(false));
        assert_eq!((device.0.ended, device.1.len()), (plain.0.ended, plain.1.len()));
        for (a, b) in device.0.history.epochs.iter().zip(&plain.0.history.epochs) {
            assert!((a.loss - b.loss).abs() < 1e-5 && a.accuracy == b.accuracy, "{a:?} {b:?}");
            assert!((a.val_loss.unwrap() - b.val_loss.unwrap()).abs() < 1e-5, "{a:?} {b:?}");
            assert_eq!(a.val_accuracy, b.val_accuracy);
        }
        for (a, b) in device.1.iter().zip(&plain.1) {
            assert_eq!((a.epoch, a.step, a.steps, a.samples), (b.epoch, b.step, b.steps, b.samples));
            assert!((a.loss - b.loss).abs() < 1e-5 && a.accuracy == b.accuracy, "{a:?} {b:?}");
        }
        assert!(near(&device.2, &plain.2));
    }
}

/// Asks for an end of the training at a batch.
struct InterruptAt(usize, Arc<AtomicBool>);

impl Callback for InterruptAt {
    fn name(&self) -> &str {
        "InterruptAt"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        if log.epoch == 2 && log.step as usize == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_resumed_training_goes_on_with_the_devices_moments_and_from_any_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (train, valid) = (Faces::new(SAMPLES), Faces::new(10));
    let fit = |trainer: Trainer, on_device: bool, interrupt: Option<(usize, Arc<AtomicBool>)>| {
        let weights = VarMap::new();
        let network = Line::new(&weights, on_device);
        let mut callbacks: Vec<InterruptAt> =
            interrupt.into_iter().map(|(at, flag)| InterruptAt(at, flag)).collect();
        let mut callbacks: Vec<&mut dyn Callback> =
            callbacks.iter_mut().map(|c| c as &mut dyn Callback).collect();
        let outcome = trainer.fit(&network, &weights, &train, Some(&valid), &mut callbacks).unwrap();
        (without_seconds(outcome), values(&weights))
    };
    let trainer = || Trainer::new(config(4, Algorithm::Nadam)).unwrap();
    let straight = fit(trainer(), true, None);

    // A training batch by batch stops in the middle of an epoch; the device goes on from there.
    let path = folder.path().join("middle");
    let flag = Arc::new(AtomicBool::new(false));
    let stopped = fit(trainer().checkpoint(&path).interrupt(flag.clone()), false, Some((3, flag)));
    assert_eq!(stopped.0.ended, Ended::Interrupted { epoch: 2, steps: 3 });
    let resumed = fit(trainer().checkpoint(&path).resume(true), true, None);
    assert!(near(&resumed.1, &straight.1));

    // A device finishes the epoch before it looks.
    let path = folder.path().join("end");
    let flag = Arc::new(AtomicBool::new(false));
    let stopped = fit(trainer().checkpoint(&path).interrupt(flag.clone()), true, Some((3, flag)));
    assert_eq!(stopped.0.ended, Ended::Interrupted { epoch: 2, steps: SAMPLES.div_ceil(BATCH) as u32 });
    let resumed = fit(trainer().checkpoint(&path).resume(true), true, None);
    assert_eq!(resumed.1, straight.1);
    assert_eq!(resumed.0.history.epochs.len(), 4);
}

#[test]
fn a_loss_that_is_not_finite_names_its_batch() {
    let weights = VarMap::new();
    let network = Line::new(&weights, true);
    let mut config = config(3, Algorithm::Adam);
    config.optimizer.learning_rate = 1e38;
    let error = Trainer::new(config)
        .unwrap()
        .fit(&network, &weights, &Faces::new(SAMPLES), None, &mut [])
        .unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, .. }), "{error}");
}
