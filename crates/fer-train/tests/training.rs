//! Whole trainings of a small network: what is learnt, what is logged, what survives an interruption.

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

#[test]
fn interrupted_trainings_resume_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for generation in [Generation::Keras2, Generation::Keras3] {
        let straight_trainer = Trainer::new(config(14)).unwrap();
        let (straight, expected) =
            fit(&straight_trainer, &mut [&mut stopping(5, generation), &mut plateau()]);
        let expected = expected.unwrap();
        assert!(values(&expected).last().unwrap()[4] < Some(0.01), "the callbacks have something to keep");
        // In the first batch, within epochs, and at their ends (13 batches each).
        for step_lengths in [vec![1, 30, 2], vec![13, 13, 26], vec![12, 27, 40]] {
            let path = folder.path().join("checkpoint.safetensors");
            let mut resume = false;
            for batches in step_lengths {
                let flag = Arc::new(AtomicBool::new(false));
                let trainer = Trainer::new(config(14)).unwrap().checkpoint(&path).resume(resume);
                let trainer = trainer.interrupt(flag.clone());
                let mut interrupt = InterruptAfter { batches, flag };
                let mut callbacks: [&mut dyn Callback; 3] =
                    [&mut stopping(5, generation), &mut plateau(), &mut interrupt];
                let (_, outcome) = fit(&trainer, &mut callbacks);
                assert!(matches!(outcome.unwrap().ended, Ended::Interrupted { .. }));
                resume = true;
            }
            let trainer = Trainer::new(config(14)).unwrap().checkpoint(&path).resume(true);
            let (resumed, outcome) = fit(&trainer, &mut [&mut stopping(5, generation), &mut plateau()]);
            let outcome = outcome.unwrap();
            assert_eq!(values(&outcome), values(&expected));
            assert_eq!(outcome.ended, expected.ended);
            assert_eq!(bits(&resumed), bits(&straight));
        }
    }
}

#[test]
fn a_finished_training_can_be_given_more_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let (straight, expected) = fit(&Trainer::new(config(6)).unwrap(), &mut []);
    fit(&Trainer::new(config(4)).unwrap().checkpoint(&path), &mut []).1.unwrap();
    let (resumed, outcome) = fit(&Trainer::new(config(6)).unwrap().checkpoint(&path).resume(true), &mut []);
    assert_eq!(values(&outcome.unwrap()), values(&expected.unwrap()));
    assert_eq!(bits(&resumed), bits(&straight));
}

#[test]
fn the_best_weights_come_back_from_before_a_resumption() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    // A baseline that the first epoch passes and nothing can surpass again: the first epoch is the best.
    let stopping = || {
        EarlyStopping::new(EarlyStoppingConfig {
            monitor: "accuracy".into(),
            min_delta: 1.0,
            patience: 3,
            ..Default::default()
        })
    };
    let mut best = ModelCheckpoint::best(folder.path().join("best"), "learning_rate", MonitorMode::Max);
    let trainer = Trainer::new(config(2)).unwrap().checkpoint(&path);
    fit(&trainer, &mut [&mut stopping(), &mut best]).1.unwrap();
    let trainer = Trainer::new(config(9)).unwrap().checkpoint(&path).resume(true);
    let mut again = stopping();
    let (weights, outcome) = fit(&trainer, &mut [&mut again, &mut best]);
    assert_eq!(outcome.unwrap().ended, Ended::Stopped);
    assert_eq!((again.best_epoch(), again.stopped_epoch()), (Some(1), Some(4)));
    let first = candle_core::safetensors::load(folder.path().join("best"), &Device::Cpu).unwrap();
    let first = first.into_iter().collect::<weights::Weights>();
    let restored = VarMap::new();
    Small::new(&restored);
    weights::restore(&restored, &first).unwrap();
    assert_eq!(bits(&weights), bits(&restored));
}

#[test]
fn another_training_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut first = stopping(5, Generation::Keras2);
    fit(&Trainer::new(config(2)).unwrap().checkpoint(&path), &mut [&mut first]).1.unwrap();
    let differences = |config: TrainConfig, callbacks: &mut [&mut dyn Callback]| {
        let trainer = Trainer::new(config).unwrap().checkpoint(&path).resume(true);
        match fit(&trainer, callbacks).1.unwrap_err() {
            Error::Mismatch { differences, .. } => differences,
            error => panic!("{error}"),
        }
    };
    let mut same = stopping(5, Generation::Keras2);
    let other = TrainConfig {
        seed: 7,
        optimizer: OptimizerConfig { learning_rate: 0.5, ..config(2).optimizer },
        ..config(2)
    };
    assert_eq!(
        differences(other, &mut [&mut same]),
        ["optimizer.learning_rate was 0.02, now 0.5", "seed was 42, now 7"]
    );
    let mut patient = stopping(9, Generation::Keras2);
    assert_eq!(differences(config(2), &mut [&mut patient]), ["EarlyStopping.patience was 5, now 9"]);
    assert_eq!(differences(config(2), &mut []), [r#"callbacks was "EarlyStopping", now """#]);

    let weights = VarMap::new();
    let network = Small::new(&weights);
    weights.get(1, "extra", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
    let trainer = Trainer::new(config(2)).unwrap().checkpoint(&path).resume(true);
    let error =
        trainer.fit(&network, &weights, &faces(9, 1), None, &mut [&mut same]).unwrap_err().to_string();
    for difference in [
        "training_samples was 97, now 9",
        "validation_samples was 40, now null",
        "the network had no extra, now extra F32 [1]",
    ] {
        assert!(error.contains(difference), "{error}");
    }
}

#[test]
fn only_a_checkpoint_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let resumed = |path: &Path| {
        fit(&Trainer::new(config(2)).unwrap().checkpoint(path).resume(true), &mut [])
            .1
            .unwrap_err()
            .to_string()
    };
    assert!(resumed(&path).contains("checkpoint.safetensors: "), "{}", resumed(&path));
    weights::save(&fit(&Trainer::new(config(1)).unwrap(), &mut []).0, &path).unwrap();
    assert!(resumed(&path).contains("weights, but not a checkpoint"), "{}", resumed(&path));
    fit(&Trainer::new(config(1)).unwrap().checkpoint(&path), &mut []).1.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(Checkpoint::load(&path).is_err());
    }
    let error = fit(&Trainer::new(config(2)).unwrap().resume(true), &mut []).1.unwrap_err();
    assert!(error.to_string().starts_with("resume is true"), "{error}");
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
fn a_metric_that_is_not_logged_ends_the_training_after_the_first_epoch() {
    let config_of = |monitor: &str| EarlyStoppingConfig { monitor: monitor.into(), ..Default::default() };
    let mut stopping = EarlyStopping::new(config_of("val_acc"));
    let mut said = Vec::new();
    let mut progress = Progress::lines(&mut said);
    let (_, outcome) = fit(&Trainer::new(config(2)).unwrap(), &mut [&mut progress, &mut stopping]);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "EarlyStopping: it watches `val_acc`, but there is only loss, accuracy, val_loss, val_accuracy, \
         learning_rate, seconds"
    );
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.matches("13/13 [==============================] - 0s").count(), 1, "{said}");

    let f1 = || Trainer::new(config(2)).unwrap().metric("f1", fer_metrics::macro_f1);
    let error = fit(&f1(), &mut [&mut EarlyStopping::new(config_of("val_f1"))]).1.unwrap_err().to_string();
    let expected = "EarlyStopping: mode is auto: it must be min or max for `val_f1`, a metric of your own";
    assert_eq!(error, expected);
    let mut reduce = ReduceLrOnPlateau::new(ReduceLrOnPlateauConfig {
        monitor: "val_f1".into(),
        mode: MonitorMode::Max,
        ..Default::default()
    })
    .unwrap();
    fit(&f1(), &mut [&mut reduce]).1.unwrap();
}

#[test]
fn there_is_no_metric_of_a_validation_that_there_is_not() {
    let trainer = Trainer::new(config(1)).unwrap().metric("first", |_, targets| f64::from(targets[[0, 0]]));
    let weights = VarMap::new();
    let network = Small::new(&weights);
    let outcome = trainer.fit(&network, &weights, &train_data(), None, &mut []).unwrap();
    let names: Vec<&String> = outcome.history.epochs[0].metrics.keys().collect();
    assert_eq!(names, ["first"]);
}

#[test]
fn a_schedule_of_ones_own_and_a_kind_exclude_each_other() {
    let mut config = config(1);
    config.schedule.kind = fer_train::ScheduleKind::Cosine;
    let trainer = Trainer::new(config).unwrap().schedule(|_, _| 1.0);
    let error = fit(&trainer, &mut []).1.unwrap_err().to_string();
    assert_eq!(error, "schedule.kind is Cosine: it must be left out where the schedule is your own");
}

#[test]
fn metrics_of_ones_own_are_over_all_rows_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("history.csv");
    let accuracy = |logits: ndarray::ArrayView2<f32>, targets: ndarray::ArrayView2<f32>| {
        let first_largest = |row: ndarray::ArrayView1<f32>| {
            (0..row.len()).reduce(|best, class| if row[class] > row[best] { class } else { best })
        };
        let pairs = logits.outer_iter().zip(targets.outer_iter());
        let hits = pairs.filter(|(row, target)| first_largest(*row) == first_largest(*target)).count();
        hits as f64 / logits.nrows() as f64
    };
    let trainer = Trainer::new(config(3)).unwrap();
    let trainer = trainer.metric("hits", accuracy).metric("rows", |logits, _| logits.nrows() as f64);
    let (_, outcome) = fit(&trainer, &mut [&mut CsvLogger::new(&table)]);
    for log in &outcome.unwrap().history.epochs {
        assert_eq!((log.get("hits"), log.get("val_hits")), (Some(log.accuracy), log.val_accuracy));
        assert_eq!((log.get("rows"), log.get("val_rows")), (Some(97.0), Some(40.0)));
    }
    let table = std::fs::read_to_string(&table).unwrap();
    assert!(
        table.starts_with(
            "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,hits,rows,val_hits,"
        )
    );

    for name in ["", "a b", "a,b", "epoch", "loss", "val_f1", "hits"] {
        let error = fit(&trainer.clone().metric(name, |_, _| 0.0), &mut []).1.unwrap_err().to_string();
        assert!(error.starts_with(&format!("metric is {name:?}: it must be a new name")), "{error}");
    }
}

#[test]
fn a_loss_of_ones_own_is_minimised_and_validated() {
    let own = |logits: &Tensor, targets: &Tensor| {
        (candle_nn::ops::log_softmax(logits, 1)? * targets)?.sum(1)?.mean_all()?.neg()
    };
    let (_, expected) = fit(&Trainer::new(config(2)).unwrap(), &mut []);
    let (_, outcome) = fit(&Trainer::new(config(2)).unwrap().loss(own), &mut []);
    for (a, b) in outcome.unwrap().history.epochs.iter().zip(&expected.unwrap().history.epochs) {
        assert!((a.loss - b.loss).abs() < 1e-5, "{a:?} {b:?}");
        assert!((a.val_loss.unwrap() - b.val_loss.unwrap()).abs() < 1e-5, "{a:?} {b:?}");
    }
    let loss = LossConfig { label_smoothing: 0.1, ..Default::default() };
    let trainer = Trainer::new(TrainConfig { loss, ..config(2) }).unwrap().loss(own);
    let error = fit(&trainer, &mut []).1.unwrap_err().to_string();
    assert!(error.starts_with("loss is LossConfig { label_smoothing: 0.1"), "{error}");
    // What it does wrong is told with its place.
    let trainer = Trainer::new(config(2)).unwrap().loss(|logits, _| logits.sum(1));
    let error = fit(&trainer, &mut []).1.unwrap_err().to_string();
    assert!(error.starts_with("training, epoch 1, batch 1: "), "{error}");
}

/// Halves the learning rate after the second epoch.
struct Halve;

impl Callback for Halve {
    fn name(&self) -> &str {
        "Halve"
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        assert_eq!(control.learning_rate, if control.history.epochs.len() <= 2 { 0.02 } else { 0.01 });
        if control.history.epochs.len() == 2 {
            control.learning_rate /= 2.0;
        }
        Ok(())
    }
}

#[test]
fn a_schedule_multiplies_the_learning_rate_that_callbacks_set() {
    let rates = |trainer: Trainer| -> Vec<f64> {
        fit(&trainer, &mut [&mut Halve]).1.unwrap().history.values("learning_rate")
    };
    let near = |found: Vec<f64>, expected: [f64; 4]| {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-7);
        assert!(near, "{found:?} {expected:?}");
    };
    let with = |schedule| Trainer::new(TrainConfig { schedule, ..config(4) }).unwrap();
    let step = ScheduleConfig { kind: ScheduleKind::Step, step_epochs: 3, ..Default::default() };
    near(rates(with(step)), [0.02, 0.02, 0.01, 0.001]);
    // 13 steps an epoch: the last ones are 12, 25, 38 and 51.
    let own = |step: u64, total: u64| {
        assert_eq!(total, 52);
        if step < 26 { 1.0 } else { step as f64 / 100.0 }
    };
    near(rates(with(ScheduleConfig::default()).schedule(own)), [0.02, 0.02, 0.0038, 0.0051]);
    let warm = ScheduleConfig { warmup_epochs: 2.0, ..Default::default() };
    near(rates(with(warm).schedule(|_, _| 1.0)), [0.02 * 12.0 / 26.0, 0.02 * 25.0 / 26.0, 0.01, 0.01]);

    let bad = Trainer::new(config(2)).unwrap().schedule(|step, _| if step == 3 { f64::NAN } else { 1.0 });
    let error = fit(&bad, &mut []).1.unwrap_err().to_string();
    assert_eq!(error, "schedule is NaN: it must be a finite number, at least 0, in every step");
}

/// Gives every batch a learning rate of its own, and stops before the fourth of the second epoch.
#[derive(Default)]
struct Steers {
    begun: Vec<BatchStart>,
    rates: Vec<f32>,
}

impl Callback for Steers {
    fn name(&self) -> &str {
        "Steers"
    }

    fn on_batch_begin(&mut self, control: &mut Control, batch: &BatchStart) -> Result<(), BoxError> {
        self.begun.push(*batch);
        control.learning_rate = batch.step as f32 / 1000.0;
        control.stop = (batch.epoch, batch.step) == (2, 4);
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &BatchLog) {
        assert_eq!(self.begun.last().map(|begun| (begun.epoch, begun.step)), Some((batch.epoch, batch.step)));
        self.rates.push(batch.learning_rate);
    }
}

#[test]
fn a_callback_steers_each_batch_and_ends_an_epoch_early() {
    let mut steers = Steers::default();
    let outcome = fit(&Trainer::new(config(5)).unwrap(), &mut [&mut steers]).1.unwrap();
    assert_eq!((outcome.ended, outcome.history.epochs.len()), (Ended::Stopped, 2));
    assert!(outcome.history.epochs[1].val_loss.is_some());
    // 13 batches, then three; the fourth is begun and not done.
    let expected: Vec<f32> = (1..=13).chain(1..=3).map(|step| step as f32 / 1000.0).collect();
    assert_eq!(steers.rates, expected);
    assert_eq!(steers.begun.len(), 17);
    assert_eq!(steers.begun[16], BatchStart { epoch: 2, step: 4, steps: 13 });
}

/// Writes down the variables that it sees.
struct SeesTheAverage(std::path::PathBuf);

impl Callback for SeesTheAverage {
    fn name(&self) -> &str {
        "SeesTheAverage"
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        weights::save(control.weights, &self.0)?;
        Ok(())
    }
}

#[test]
fn the_average_is_what_is_validated_shown_and_left_while_the_training_goes_on_with_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let averaged = TrainConfig { average: Some(AverageConfig::default()), ..config(3) };
    let mut shown = SeesTheAverage(folder.path().join("shown"));
    let trainer = Trainer::new(averaged).unwrap().checkpoint(&path);
    let (left, outcome) = fit(&trainer, &mut [&mut shown]);
    let (raw, plain) = fit(&Trainer::new(config(3)).unwrap(), &mut []);
    let (averaged, plain) = (outcome.unwrap(), plain.unwrap());
    assert_eq!(averaged.history.values("loss"), plain.history.values("loss"));
    assert_ne!(averaged.history.values("val_loss"), plain.history.values("val_loss"));

    let checkpoint = Checkpoint::load(&path).unwrap();
    let values = |weights: &weights::Weights| -> Vec<Vec<f32>> {
        weights.values().map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    assert_eq!(values(checkpoint.weights()), values(&weights::snapshot(&raw).unwrap()));
    let average = values(checkpoint.average().unwrap());
    assert_eq!(average, values(&weights::snapshot(&left).unwrap()));
    let shown = candle_core::safetensors::load(&shown.0, &Device::Cpu).unwrap();
    assert_eq!(average, values(&shown.into_iter().collect()));
    // The moving mean that no gradient reaches is averaged too.
    assert_ne!(values(checkpoint.weights())[2], average[2]);

    let restored = VarMap::new();
    let network = Small::new(&restored);
    weights::restore(&restored, checkpoint.average().unwrap()).unwrap();
    let mut loss = 0.0;
    for batch in faces(40, 11).epoch(0) {
        let Batch { images, targets } = batch.unwrap();
        let logits = network.forward(&images, Mode::Eval).unwrap();
        let mean = cross_entropy(&logits, &targets, &LossConfig::default()).unwrap();
        loss += f64::from(mean.to_scalar::<f32>().unwrap()) * 8.0 / 40.0;
    }
    let logged = averaged.history.epochs[2].val_loss.unwrap();
    assert!((logged - loss).abs() < 1e-6, "{logged} {loss}");
}

#[test]
fn early_stopping_brings_back_an_average() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let trainer = Trainer::new(TrainConfig { average: Some(AverageConfig::default()), ..config(9) }).unwrap();
    for generation in [Generation::Keras2, Generation::Keras3] {
        let stopping = || {
            EarlyStopping::new(EarlyStoppingConfig {
                monitor: "accuracy".into(),
                min_delta: 1.0,
                patience: 2,
                generation,
                ..Default::default()
            })
        };
        let mut best = ModelCheckpoint::best(folder.path().join("best"), "learning_rate", MonitorMode::Max);
        let (left, outcome) = fit(&trainer.clone().checkpoint(&path), &mut [&mut stopping(), &mut best]);
        assert_eq!(outcome.unwrap().ended, Ended::Stopped);
        let best = candle_core::safetensors::load(folder.path().join("best"), &Device::Cpu).unwrap();
        let is_best = |weights: &VarMap| {
            weights::snapshot(weights).unwrap().iter().all(|(name, tensor)| {
                let difference = (tensor - &best[name]).unwrap().abs().unwrap().sum_all().unwrap();
                difference.to_scalar::<f32>().unwrap() == 0.0
            })
        };
        assert!(is_best(&left));
        // What is stopped stays stopped, with the same weights.
        let mut unused =
            ModelCheckpoint::best(folder.path().join("other"), "learning_rate", MonitorMode::Max);
        let again = trainer.clone().checkpoint(&path).resume(true);
        let (resumed, outcome) = fit(&again, &mut [&mut stopping(), &mut unused]);
        assert_eq!(outcome.unwrap().ended, Ended::Stopped);
        assert!(is_best(&resumed));
    }
}

/// Mixes each batch with a permutation of itself, by numbers of the epoch and the batch, until it has made so many.
struct Mixed(TensorBatches, Cell<u32>);

impl Batches for Mixed {
    fn samples(&self) -> usize {
        self.0.samples()
    }

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch(&self, epoch: u32) -> Epoch<'_> {
        Box::new(self.0.epoch(epoch).zip(0..).map(move |(batch, item)| {
            let batch = batch?;
            self.1.set(self.1.get().checked_sub(1).ok_or("the power is gone")?);
            let mut rng = Stream { seed: 3, purpose: Purpose::named("mixup"), epoch, item }.rng();
            let partners = rng.permutation(batch.images.dim(0)?).into_iter().map(|i| i as u32).collect();
            let share = next_double(&mut rng) as f32;
            Ok(batch.mixed(&Mix { share, partners }, CLASSES as usize)?)
        }))
    }
}

/// Sets a flag in a batch of a validation.
struct InterruptValidation(u32, Arc<AtomicBool>);

impl Callback for InterruptValidation {
    fn name(&self) -> &str {
        "InterruptValidation"
    }

    fn on_validation_batch_end(&mut self, batch: &BatchLog) {
        assert_eq!((batch.steps, batch.samples), (5, u64::from(batch.step) * 8));
        if batch.epoch == 2 && batch.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_whole_recipe_resumes_to_the_bit() {
    let recipe = || {
        let optimizer = OptimizerConfig {
            algorithm: Algorithm::Sgd,
            learning_rate: 0.3,
            nesterov: true,
            weight_decay: 1e-2,
            clip_norm: Some(0.5),
            ..Default::default()
        };
        let schedule =
            ScheduleConfig { kind: ScheduleKind::Cosine, warmup_epochs: 1.5, ..Default::default() };
        let average = Some(AverageConfig { decay: 0.98 });
        Trainer::new(TrainConfig { epochs: 6, optimizer, schedule, average, ..Default::default() })
            .unwrap()
            .metric("f1", fer_metrics::macro_f1)
    };
    let train = Mixed(train_data().drop_last(true), Cell::new(u32::MAX));
    let valid = faces(40, 11);
    let run = |trainer: &Trainer, callbacks: &mut [&mut dyn Callback]| {
        let weights = VarMap::new();
        let network = Small::new(&weights);
        let outcome = trainer.fit(&network, &weights, &train, Some(&valid), callbacks).unwrap();
        (weights, outcome)
    };
    let logged = |outcome: &Outcome| -> Vec<(String, u64)> {
        let names = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "f1", "val_f1"];
        let bits =
            |name: &str| outcome.history.values(name).into_iter().map(f64::to_bits).collect::<Vec<_>>();
        names.iter().flat_map(|name| bits(name).into_iter().map(|bits| (name.to_string(), bits))).collect()
    };
    let (straight, expected) = run(&recipe(), &mut [&mut plateau()]);
    assert_eq!(logged(&expected).len(), 7 * 6);
    assert!(
        expected.history.epochs[5].loss < 0.8 * expected.history.epochs[0].loss,
        "{:?}",
        expected.history
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let begun = |resume: bool| {
        let flag = Arc::new(AtomicBool::new(false));
        (recipe().checkpoint(&path).resume(resume).interrupt(flag.clone()), flag)
    };
    // In the warm-up, in a validation, in its last batch, in the middle of later epochs of 12 batches.
    let (trainer, flag) = begun(false);
    let (_, outcome) = run(&trainer, &mut [&mut plateau(), &mut InterruptAfter { batches: 5, flag }]);
    assert_eq!(outcome.ended, Ended::Interrupted { epoch: 1, steps: 5 });
    for step in [2, 5] {
        let (trainer, flag) = begun(true);
        let (_, outcome) = run(&trainer, &mut [&mut plateau(), &mut InterruptValidation(step, flag)]);
        assert_eq!(outcome.ended, Ended::Interrupted { epoch: 2, steps: 12 });
    }
    for batches in [1, 20] {
        let (trainer, flag) = begun(true);
        let (left, outcome) = run(&trainer, &mut [&mut plateau(), &mut InterruptAfter { batches, flag }]);
        assert!(matches!(outcome.ended, Ended::Interrupted { .. }));
        let average = Checkpoint::load(&path).unwrap().average().unwrap().clone();
        let of_checkpoint = VarMap::new();
        Small::new(&of_checkpoint);
        weights::restore(&of_checkpoint, &average).unwrap();
        assert_eq!(bits(&left), bits(&of_checkpoint), "an interrupted training leaves the average too");
    }
    let (resumed, outcome) = run(&begun(true).0, &mut [&mut plateau()]);
    assert_eq!(logged(&outcome), logged(&expected));
    assert_eq!(bits(&resumed), bits(&straight));

    // What ends without a word in the middle of the third epoch goes on from its beginning.
    train.1.set(31);
    let weights = VarMap::new();
    let network = Small::new(&weights);
    let error =
        begun(false).0.fit(&network, &weights, &train, Some(&valid), &mut [&mut plateau()]).unwrap_err();
    assert_eq!(error.to_string(), "training, epoch 3, batch 8: the power is gone");
    train.1.set(u32::MAX);
    let (resumed, outcome) = run(&begun(true).0, &mut [&mut plateau()]);
    assert_eq!(logged(&outcome), logged(&expected));
    assert_eq!(bits(&resumed), bits(&straight));
}

#[test]
fn what_decides_every_step_cannot_change_with_a_resumption() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let schedule = ScheduleConfig { kind: ScheduleKind::Cosine, ..Default::default() };
    let trainer =
        |epochs| Trainer::new(TrainConfig { schedule, ..config(epochs) }).unwrap().checkpoint(&path);
    fit(&trainer(2), &mut []).1.unwrap();
    let error = fit(&trainer(3).resume(true), &mut []).1.unwrap_err().to_string();
    assert!(error.ends_with("belongs to another training: epochs was 2, now 3"), "{error}");
    let error = fit(&trainer(2).resume(true).metric("f1", |_, _| 0.0), &mut []).1.unwrap_err().to_string();
    assert!(error.ends_with("own_metrics was [], now [\"f1\"]"), "{error}");
}

#[test]
fn a_checkpoint_of_an_earlier_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    // The metadata is all that is looked at first.
    let json = r#"{"format": 1, "config": {"epochs": 2}, "history": []}"#.to_owned();
    let none: Vec<(String, Tensor)> = Vec::new();
    let metadata = Some([("training".to_owned(), json)].into());
    std::fs::write(&path, safetensors::serialize(none, metadata).unwrap()).unwrap();
    let trainer = Trainer::new(config(2)).unwrap().checkpoint(&path).resume(true);
    let error = fit(&trainer, &mut []).1.unwrap_err().to_string();
    assert!(
        error.contains("checkpoint.safetensors: it is a checkpoint of an earlier version (format 1)"),
        "{error}"
    );
    assert!(error.ends_with("the run must be begun anew"), "{error}");
}

/// Fails at the end of an epoch.
struct Failing;

impl Callback for Failing {
    fn name(&self) -> &str {
        "Failing"
    }

    fn on_epoch_end(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        Err("no space left".into())
    }
}

#[test]
fn a_failing_callback_is_named() {
    let error = fit(&Trainer::new(config(2)).unwrap(), &mut [&mut Failing]).1.unwrap_err();
    assert_eq!(error.to_string(), "Failing: no space left");
}

#[test]
fn an_interrupted_training_leaves_no_epoch_out_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let table = folder.path().join("history.csv");
    let flag = Arc::new(AtomicBool::new(false));
    let trainer = Trainer::new(config(3)).unwrap().checkpoint(&path);
    let mut interrupt = InterruptAfter { batches: 20, flag: flag.clone() };
    let mut board = TensorBoard::new(folder.path().join("tensorboard"));
    let mut callbacks: [&mut dyn Callback; 3] = [&mut CsvLogger::new(&table), &mut board, &mut interrupt];
    let (_, outcome) = fit(&trainer.clone().interrupt(flag), &mut callbacks);
    assert_eq!(outcome.unwrap().ended, Ended::Interrupted { epoch: 2, steps: 7 });
    // What a crash after writing the table, but before the checkpoint, would leave.
    let rows = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, rows + "2,0,0,0,0,0,0\n").unwrap();
    let mut callbacks: [&mut dyn Callback; 2] = [&mut CsvLogger::new(&table), &mut board];
    fit(&trainer.resume(true), &mut callbacks).1.unwrap();
    let rows = std::fs::read_to_string(&table).unwrap();
    let epochs: Vec<_> = rows.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(epochs, ["1", "2", "3"]);
    for part in ["train", "validation"] {
        assert_eq!(std::fs::read_dir(folder.path().join("tensorboard").join(part)).unwrap().count(), 2);
    }
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
