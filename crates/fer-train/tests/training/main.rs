//! Whole trainings of a small network: what is learnt, what is logged, what survives an interruption.

mod average;
mod own;
mod resume;
mod steering;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, Linear, Module, VarBuilder, VarMap};
use fer_nn::engine::Mix;
use fer_nn::{Mode, Network};
use fer_rand::{Purpose, Stream, next_double};
use fer_train::{
    Algorithm, AverageConfig, Batch, BatchLog, BatchStart, Batches, BoxError, Callback, Checkpoint, Control,
    CsvLogger, EarlyStopping, EarlyStoppingConfig, Ended, Epoch, Error, Generation, LossConfig,
    ModelCheckpoint, MonitorMode, OptimizerConfig, Outcome, Progress, ReduceLrOnPlateau,
    ReduceLrOnPlateauConfig, ScheduleConfig, ScheduleKind, TensorBatches, TensorBoard, TrainConfig, Trainer,
    cross_entropy, weights,
};

const CLASSES: u32 = 3;

/// Two dense layers with dropout between them, and a moving mean of the images that no gradient reaches.
struct Small {
    first: Linear,
    second: Linear,
    mean: Var,
}

impl Small {
    fn new(weights: &VarMap) -> Self {
        let layer = |name: &str, inputs: usize, outputs: usize, seed: u32| {
            let weight = weights.get(
                (outputs, inputs),
                &format!("{name}.weight"),
                Init::Const(0.0),
                DType::F32,
                &Device::Cpu,
            );
            let weight = weight.unwrap();
            let data = weights.data().lock().unwrap();
            data[&format!("{name}.weight")].set(&random((outputs, inputs), seed)).unwrap();
            drop(data);
            let bias =
                weights.get(outputs, &format!("{name}.bias"), Init::Const(0.0), DType::F32, &Device::Cpu);
            Linear::new(weight, Some(bias.unwrap()))
        };
        let first = layer("first", 4, 8, 1);
        let second = layer("second", 8, CLASSES as usize, 2);
        weights.get(4, "moving_mean", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
        let mean = weights.data().lock().unwrap()["moving_mean"].clone();
        Self { first, second, mean }
    }
}

impl Network for Small {
    fn forward(&self, images: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        let x = images.flatten_from(1)?;
        let x = match mode {
            Mode::Eval => self.first.forward(&x.broadcast_sub(&self.mean)?)?.relu()?,
            Mode::Train(step) => {
                let batch_mean = x.mean(0)?;
                self.mean.set(&((self.mean.as_tensor() * 0.9)? + (&batch_mean * 0.1)?)?.detach())?;
                let x = self.first.forward(&x.broadcast_sub(&batch_mean)?)?.relu()?;
                let purpose = Purpose::named("dropout");
                let stream = Stream { seed: step.seed, purpose, epoch: step.epoch, item: step.step };
                let mut rng = stream.rng();
                let keep = |_| if next_double(&mut rng) < 0.2 { 0.0 } else { 1.25_f32 };
                let mask: Vec<f32> = (0..x.elem_count()).map(keep).collect();
                (&x * Tensor::from_vec(mask, x.shape(), x.device())?)?
            }
        };
        self.second.forward(&x)
    }
}

fn random(shape: (usize, usize), item: u32) -> Tensor {
    let mut rng = Stream { seed: 5, purpose: Purpose::named("test"), epoch: 0, item }.rng();
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| next_double(&mut rng) as f32 - 0.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Images of 1 × 2 × 2 whose class is their brightest pixel among the first three.
fn faces(samples: usize, item: u32) -> TensorBatches {
    let images = random((samples, 4), item);
    let labels = images.narrow(1, 0, CLASSES as usize).unwrap().argmax(1).unwrap();
    TensorBatches::new(images.reshape((samples, 1, 2, 2)).unwrap(), labels, 8).unwrap()
}

fn train_data() -> TensorBatches {
    faces(97, 10).shuffled(7)
}

fn config(epochs: u32) -> TrainConfig {
    let optimizer =
        OptimizerConfig { algorithm: Algorithm::Nadam, learning_rate: 0.02, ..Default::default() };
    TrainConfig { epochs, optimizer, ..Default::default() }
}

/// Patience so short that both callbacks act within a few epochs.
fn stopping(patience: u32, generation: Generation) -> EarlyStopping {
    EarlyStopping::new(EarlyStoppingConfig { patience, generation, ..Default::default() })
}

fn plateau() -> ReduceLrOnPlateau {
    ReduceLrOnPlateau::new(ReduceLrOnPlateauConfig { patience: 1, ..Default::default() }).unwrap()
}

fn bits(weights: &VarMap) -> Vec<(String, Vec<u32>)> {
    let bits = |tensor: &Tensor| {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    weights::snapshot(weights).unwrap().iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

/// The history without what differs from run to run.
fn values(outcome: &Outcome) -> Vec<[Option<f64>; 5]> {
    let names = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"];
    outcome.history.epochs.iter().map(|log| names.map(|name| log.get(name))).collect()
}

fn fit(trainer: &Trainer, callbacks: &mut [&mut dyn Callback]) -> (VarMap, Result<Outcome, Error>) {
    let weights = VarMap::new();
    let network = Small::new(&weights);
    let outcome = trainer.fit(&network, &weights, &train_data(), Some(&faces(40, 11)), callbacks);
    (weights, outcome)
}

/// Sets a flag after some batches, counted over the whole training.
struct InterruptAfter {
    batches: u32,
    flag: Arc<AtomicBool>,
}

impl Callback for InterruptAfter {
    fn name(&self) -> &str {
        "InterruptAfter"
    }

    fn on_batch_end(&mut self, _batch: &BatchLog) {
        self.batches = self.batches.saturating_sub(1);
        if self.batches == 0 {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_network_learns_and_logs_what_it_does() {
    let (_, outcome) = fit(&Trainer::new(config(60)).unwrap(), &mut []);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ended, Ended::Completed);
    assert_eq!(outcome.history.epochs.len(), 60);
    let last = outcome.history.epochs.last().unwrap();
    assert!(last.val_accuracy.unwrap() >= 0.85, "{last:?}");
    assert!(last.loss < 0.5 * outcome.history.epochs[0].loss, "{last:?}");
    assert_eq!(last.epoch, 60);
}

/// A network whose loss becomes no number in one batch.
struct Diverging(Small, Cell<u32>);

impl Network for Diverging {
    fn forward(&self, images: &Tensor, mode: Mode) -> candle_core::Result<Tensor> {
        let logits = self.0.forward(images, mode)?;
        self.1.set(self.1.get() + 1);
        if self.1.get() == 16 { logits / 0.0 } else { Ok(logits) }
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let weights = VarMap::new();
    let network = Diverging(Small::new(&weights), Cell::new(0));
    let trainer = Trainer::new(config(5)).unwrap().checkpoint(&path);
    let error = trainer.fit(&network, &weights, &train_data(), None, &mut []).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 2, batch: 3, .. }), "{error}");
    assert!(error.to_string().contains("Lower the learning rate (now 0.02)"), "{error}");
    assert_eq!(Checkpoint::load(&path).unwrap().position(), (2, 0));
}

/// Batches that fail.
struct Broken(TensorBatches);

impl Batches for Broken {
    fn samples(&self) -> usize {
        self.0.samples()
    }

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        Box::new(self.0.epoch(epoch).enumerate().map(|(i, batch): (usize, Result<Batch, BoxError>)| {
            if i == 3 { Err("the disk is gone".into()) } else { batch }
        }))
    }
}

#[test]
fn what_fails_in_a_batch_is_told_with_its_place() {
    let weights = VarMap::new();
    let network = Small::new(&weights);
    let trainer = Trainer::new(config(2)).unwrap();
    let broken = Broken(train_data());
    let error = trainer.fit(&network, &weights, &broken, None, &mut []).unwrap_err();
    assert_eq!(error.to_string(), "training, epoch 1, batch 4: the disk is gone");
    let error = trainer.fit(&network, &weights, &train_data(), Some(&broken), &mut []).unwrap_err();
    assert_eq!(error.to_string(), "validation, epoch 1, batch 4: the disk is gone");

    let images = random((3, 4), 1).reshape((3, 1, 2, 2)).unwrap();
    let labels = Tensor::new(&[0_u32, 1, 6], &Device::Cpu).unwrap();
    let wrong = TensorBatches::new(images, labels, 2).unwrap();
    let error = trainer.fit(&network, &weights, &wrong, None, &mut []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "training, epoch 1, batch 2: sample 0 of the batch has the label 6, but the network has 3 classes"
    );
    let (images, labels) = (random((0, 4), 1), Tensor::zeros(0, DType::U32, &Device::Cpu).unwrap());
    let none = TensorBatches::new(images, labels, 8).unwrap();
    let error = trainer.fit(&network, &weights, &none, None, &mut []).unwrap_err();
    assert_eq!(error.to_string(), "training, epoch 1: there is no data, not a single batch");
    let error = trainer.fit(&network, &VarMap::new(), &train_data(), None, &mut []).unwrap_err();
    assert!(matches!(error, Error::NoGradient { variables: 0 }), "{error}");
}

#[test]
fn class_weights_count_in_training_and_not_in_validation() {
    let loss = |class_weights: Option<Vec<f64>>, learning_rate: f64| {
        let optimizer = OptimizerConfig { learning_rate, ..Default::default() };
        let loss = LossConfig { class_weights, ..Default::default() };
        let trainer = Trainer::new(TrainConfig { epochs: 1, optimizer, loss, ..Default::default() }).unwrap();
        fit(&trainer, &mut []).1.unwrap().history.epochs[0].clone()
    };
    // A learning rate so small that the weights stay.
    let (plain, doubled) = (loss(None, 1e-30), loss(Some(vec![2.0; 3]), 1e-30));
    assert!((doubled.loss - 2.0 * plain.loss).abs() < 1e-6);
    assert_eq!(doubled.val_loss, plain.val_loss);
    assert_eq!(doubled.accuracy, plain.accuracy);
}

#[test]
fn variables_may_be_f64() {
    let weights = VarMap::new();
    let network =
        Wide(candle_nn::linear(4, 3, VarBuilder::from_varmap(&weights, DType::F64, &Device::Cpu)).unwrap());
    let outcome = Trainer::new(config(2)).unwrap().fit(&network, &weights, &train_data(), None, &mut []);
    assert!(outcome.unwrap().history.epochs[1].loss > 0.0);
}

struct Wide(Linear);

impl Network for Wide {
    fn forward(&self, images: &Tensor, _mode: Mode) -> candle_core::Result<Tensor> {
        self.0.forward(&images.flatten_from(1)?.to_dtype(DType::F64)?)
    }
}
