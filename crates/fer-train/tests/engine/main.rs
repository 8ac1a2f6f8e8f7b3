//! A training by a device's engine is, to whoever asks for it, the one that goes batch by batch. The device here is a
//! plain one: it does what it is told with the network's own passes, and takes its time.

mod device;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use device::{Line, batch};
use fer_nn::engine::{EpochPlan, Samples, Treatment};
use fer_train::{
    Algorithm, AverageConfig, BatchLog, BatchStart, Batches, BoxError, Callback, Checkpoint, Control, Ended,
    Epoch, Error, LossConfig, OptimizerConfig, Outcome, ScheduleConfig, ScheduleKind, Stored, TrainConfig,
    Trainer, weights,
};

const SAMPLES: usize = 27;
const BATCH: usize = 4;

/// Images whose class is their brightest pixel of the first three, in an order that turns with the epoch.
struct Faces(Samples);

impl Faces {
    fn new(samples: usize) -> Self {
        let pixels: Vec<u8> = (0..samples * 4).map(|i| (i * i * 37 % 251) as u8).collect();
        let brightest = |image: &[u8]| (0..3).max_by_key(|&class| image[class as usize]).unwrap();
        let labels: Vec<u32> = pixels.chunks(4).map(brightest).collect();
        let mut targets = Samples::one_hot(&labels, 3);
        // Every fifth is not that clear.
        targets.chunks_mut(3).step_by(5).for_each(|row| row.copy_from_slice(&[0.25, 0.25, 0.5]));
        Self(Samples {
            pixels,
            targets,
            classes: 3,
            height: 2,
            width: 2,
            batch_size: BATCH,
            drop_last: false,
        })
    }

    fn order(&self, epoch: u32) -> Vec<u32> {
        let samples = self.samples() as u32;
        (0..samples).map(|i| (i + epoch * 5) % samples).collect()
    }
}

impl Batches for Faces {
    fn samples(&self) -> usize {
        self.0.len()
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
        Some(Stored { samples: self.0.clone(), treatment: Treatment::default() })
    }

    fn plan(&self, epoch: u32) -> EpochPlan {
        EpochPlan { order: self.order(epoch), ..Default::default() }
    }
}

/// What is said of a training, without the seconds.
#[derive(Default)]
struct Logs {
    training: Vec<BatchLog>,
    validation: Vec<BatchLog>,
    seconds: Vec<f64>,
    messages: Vec<String>,
}

impl Callback for Logs {
    fn name(&self) -> &str {
        "Logs"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.training.push(BatchLog { seconds: 0.0, ..*log });
        self.seconds.push(log.seconds);
    }

    fn on_validation_batch_end(&mut self, log: &BatchLog) {
        self.validation.push(BatchLog { seconds: 0.0, ..*log });
    }

    fn on_message(&mut self, message: &str) {
        self.messages.push(message.into());
    }
}

/// Everything at once that an engine can do.
fn config(epochs: u32, algorithm: Algorithm) -> TrainConfig {
    let optimizer = OptimizerConfig {
        algorithm,
        learning_rate: 0.05,
        nesterov: true,
        weight_decay: 0.01,
        clip_norm: Some(0.3),
        ..Default::default()
    };
    let loss =
        LossConfig { label_smoothing: 0.1, class_weights: Some(vec![1.0, 0.5, 2.0]), ..Default::default() };
    let schedule = ScheduleConfig { kind: ScheduleKind::Cosine, warmup_epochs: 0.5, ..Default::default() };
    let average = Some(AverageConfig { decay: 0.9 });
    TrainConfig { epochs, optimizer, loss, schedule, average, ..Default::default() }
}

fn values(weights: &VarMap) -> Vec<f32> {
    let snapshot = weights::snapshot(weights).unwrap();
    snapshot.values().flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

fn without_seconds(mut outcome: Outcome) -> Outcome {
    outcome.history.epochs.iter_mut().for_each(|log| log.seconds = 0.0);
    outcome
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5)
}

const NO_TIME: Option<Duration> = Some(Duration::ZERO);

fn run(config: TrainConfig, engine: Option<Duration>) -> (Outcome, Logs, Vec<f32>) {
    let weights = VarMap::new();
    let network = Line::new(&weights, engine);
    let (train, valid) = (Faces::new(SAMPLES), Faces::new(10));
    let mut logs = Logs::default();
    let trainer = Trainer::new(config).unwrap();
    let outcome = trainer.fit(&network, &weights, &train, Some(&valid), &mut [&mut logs]).unwrap();
    (outcome, logs, values(&weights))
}

#[test]
fn history_logs_and_weights_are_those_of_a_training_batch_by_batch() {
    for algorithm in [Algorithm::Adam, Algorithm::Nadam, Algorithm::AdamW, Algorithm::Sgd] {
        for average in [None, Some(AverageConfig { decay: 0.9 })] {
            let config = TrainConfig { average, ..config(3, algorithm) };
            let (device, plain) = (run(config.clone(), NO_TIME), run(config, None));
            assert_eq!(device.0.ended, plain.0.ended);
            for (a, b) in device.0.history.epochs.iter().zip(&plain.0.history.epochs) {
                assert!((a.loss - b.loss).abs() < 1e-5 && a.accuracy == b.accuracy, "{a:?} {b:?}");
                assert!((a.val_loss.unwrap() - b.val_loss.unwrap()).abs() < 1e-5, "{a:?} {b:?}");
                assert_eq!((a.val_accuracy, a.learning_rate), (b.val_accuracy, b.learning_rate));
            }
            assert!(near(&device.2, &plain.2), "{:?} {:?}", device.2, plain.2);
            // The device speaks seldom; when it does, of the same.
            for (a, b) in
                [(&device.1.training, &plain.1.training), (&device.1.validation, &plain.1.validation)]
            {
                assert!(a.len() < b.len());
                for log in a {
                    let same = b.iter().find(|b| (b.epoch, b.step) == (log.epoch, log.step)).unwrap();
                    assert_eq!((log.steps, log.samples), (same.steps, same.samples));
                    assert!(
                        (log.loss - same.loss).abs() < 1e-5 && log.accuracy == same.accuracy,
                        "{log:?} {same:?}"
                    );
                    assert_eq!(log.learning_rate, same.learning_rate);
                }
            }
        }
    }
}

#[test]
fn ranges_take_about_half_a_second_and_tell_the_true_time() {
    let config = TrainConfig { average: None, ..config(3, Algorithm::Sgd) };
    let (_, logs, _) = run(config, Some(Duration::from_millis(170)));
    // Seven steps an epoch: one to begin with, then two fit into half a second.
    let steps: Vec<(u32, u32)> = logs.training.iter().map(|log| (log.epoch, log.step)).collect();
    assert_eq!(steps[..8], [(1, 1), (1, 3), (1, 5), (1, 7), (2, 2), (2, 4), (2, 6), (2, 7)]);
    for (log, seconds) in logs.training.iter().zip(&logs.seconds) {
        let expected = f64::from(log.step) * 0.17;
        assert!((expected..expected + 1.0).contains(seconds), "{log:?}: {seconds}");
    }
    let steps: Vec<(u32, u32)> = logs.validation.iter().map(|log| (log.epoch, log.step)).collect();
    assert_eq!(steps, [(1, 1), (1, 3), (2, 2), (2, 3), (3, 2), (3, 3)]);
}

/// Wants to see every batch.
#[derive(Default)]
struct EveryBatch(Logs);

impl Callback for EveryBatch {
    fn name(&self) -> &str {
        "EveryBatch"
    }

    fn every_batch(&self) -> bool {
        true
    }

    fn on_batch_begin(&mut self, control: &mut Control, batch: &BatchStart) -> Result<(), BoxError> {
        control.learning_rate = batch.step as f32 / 100.0;
        Ok(())
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.0.on_batch_end(log);
    }
}

#[test]
fn a_device_stops_after_every_batch_for_a_callback_that_asks_for_it() {
    let fit = |engine| {
        let weights = VarMap::new();
        let network = Line::new(&weights, engine);
        let mut every = EveryBatch::default();
        let trainer = Trainer::new(config(2, Algorithm::Sgd)).unwrap();
        trainer.fit(&network, &weights, &Faces::new(SAMPLES), None, &mut [&mut every]).unwrap();
        (every.0.training, values(&weights))
    };
    let (device, plain) = (fit(NO_TIME), fit(None));
    let steps: Vec<(u32, u32)> = device.0.iter().map(|log| (log.epoch, log.step)).collect();
    assert_eq!(steps, (1..=2).flat_map(|epoch| (1..=7).map(move |step| (epoch, step))).collect::<Vec<_>>());
    let rates = |logs: &[BatchLog]| logs.iter().map(|log| log.learning_rate).collect::<Vec<_>>();
    assert_eq!(rates(&device.0), rates(&plain.0));
    assert!(near(&device.1, &plain.1), "{:?} {:?}", device.1, plain.1);
}

/// Asks for an end of the training at a batch, of the training or of the validation.
struct InterruptAt {
    epoch: u32,
    step: u32,
    in_validation: bool,
    flag: Arc<AtomicBool>,
}

impl InterruptAt {
    fn look(&self, log: &BatchLog, in_validation: bool) {
        if in_validation == self.in_validation && log.epoch == self.epoch && log.step >= self.step {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

impl Callback for InterruptAt {
    fn name(&self) -> &str {
        "InterruptAt"
    }

    fn on_batch_end(&mut self, log: &BatchLog) {
        self.look(log, false);
    }

    fn on_validation_batch_end(&mut self, log: &BatchLog) {
        self.look(log, true);
    }
}

#[test]
fn an_interrupted_training_goes_on_in_the_middle_of_an_epoch_on_either_engine() {
    let folder = tempfile::tempdir().unwrap();
    let (train, valid) = (Faces::new(SAMPLES), Faces::new(10));
    let fit = |trainer: Trainer, engine: Option<Duration>, interrupt: Option<(u32, u32, bool)>| {
        let weights = VarMap::new();
        let network = Line::new(&weights, engine);
        let flag = Arc::new(AtomicBool::new(false));
        let (epoch, step, in_validation) = interrupt.unwrap_or((99, 0, false));
        let mut callback = InterruptAt { epoch, step, in_validation, flag: flag.clone() };
        let outcome =
            trainer.interrupt(flag).fit(&network, &weights, &train, Some(&valid), &mut [&mut callback]);
        (without_seconds(outcome.unwrap()), values(&weights))
    };
    // Two steps a range.
    let slow = Some(Duration::from_millis(180));
    for (index, algorithm) in [Algorithm::Nadam, Algorithm::Sgd].into_iter().enumerate() {
        let trainer = || Trainer::new(config(3, algorithm)).unwrap();
        let straight = fit(trainer(), NO_TIME, None);
        let path = folder.path().join(index.to_string());
        // The device stops in the middle of an epoch, goes on there, stops in a validation, and goes on.
        let stopped = fit(trainer().checkpoint(&path), slow, Some((1, 3, false)));
        assert_eq!(stopped.0.ended, Ended::Interrupted { epoch: 1, steps: 3 });
        let average: Vec<f32> = Checkpoint::load(&path)
            .unwrap()
            .average()
            .unwrap()
            .values()
            .flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect();
        assert_eq!(stopped.1, average, "what is left is the average");
        let stopped = fit(trainer().checkpoint(&path).resume(true), slow, Some((2, 1, true)));
        assert_eq!(stopped.0.ended, Ended::Interrupted { epoch: 2, steps: 7 });
        let resumed = fit(trainer().checkpoint(&path).resume(true), NO_TIME, None);
        assert_eq!(resumed, straight);

        // So does the host with what the device left, and the device with what the host left.
        for (first, second) in [(slow, None), (None, NO_TIME)] {
            fit(trainer().checkpoint(&path), first, Some((1, 3, false)));
            let resumed = fit(trainer().checkpoint(&path).resume(true), second, None);
            assert!(near(&resumed.1, &straight.1), "{:?} {:?}", resumed.1, straight.1);
            assert_eq!(resumed.0.history.epochs.len(), 3);
        }
    }
}

/// Stops after the second epoch and leaves weights of its own.
struct StopWith(f32);

impl Callback for StopWith {
    fn name(&self) -> &str {
        "StopWith"
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        control.stop = control.history.epochs.len() == 2;
        for var in control.weights.all_vars() {
            var.set(&Tensor::full(self.0, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

#[test]
fn what_a_callback_that_stops_leaves_in_the_variables_stays() {
    let weights = VarMap::new();
    let network = Line::new(&weights, NO_TIME);
    let trainer = Trainer::new(config(3, Algorithm::Sgd)).unwrap();
    let outcome =
        trainer.fit(&network, &weights, &Faces::new(SAMPLES), None, &mut [&mut StopWith(0.5)]).unwrap();
    assert_eq!(outcome.ended, Ended::Stopped);
    assert_eq!(values(&weights), vec![0.5; 16]);
    // The epoch before, where it did not stop, went on with the weights.
    let weights = VarMap::new();
    let network = Line::new(&weights, NO_TIME);
    let plain = trainer.fit(&network, &weights, &Faces::new(SAMPLES), None, &mut []).unwrap();
    assert_eq!(outcome.history.values("loss"), plain.history.values("loss")[..2]);
}

#[test]
fn what_a_device_cannot_record_runs_batch_by_batch_and_is_said() {
    let said = |trainer: Trainer, engine: Option<Duration>| {
        let weights = VarMap::new();
        let network = Line::new(&weights, engine);
        let mut logs = Logs::default();
        trainer.fit(&network, &weights, &Faces::new(SAMPLES), None, &mut [&mut logs]).unwrap();
        assert_eq!(logs.training.len(), 7);
        logs.messages
    };
    let trainer = |focal_gamma| {
        let loss = LossConfig { focal_gamma, ..Default::default() };
        Trainer::new(TrainConfig { loss, ..config(1, Algorithm::Sgd) }).unwrap()
    };
    let message = |what: &str| {
        vec![format!(
            "The device does not record the training because of {what}: it runs batch by batch, which is slower."
        )]
    };
    assert_eq!(said(trainer(Some(2.0)), NO_TIME), message("the focal loss"));
    let own = trainer(None).loss(|logits, targets| (logits - targets)?.sqr()?.mean_all());
    let own = own.metric("f1", fer_metrics::macro_f1);
    assert_eq!(said(own.clone(), NO_TIME), message("a loss of your own and metrics of your own (`f1`)"));
    // Nothing is missed where there is no engine.
    assert!(said(own, None).is_empty());
}

#[test]
fn a_loss_that_is_not_finite_names_its_batch() {
    let weights = VarMap::new();
    let network = Line::new(&weights, NO_TIME);
    let mut config = config(3, Algorithm::Sgd);
    config.optimizer.learning_rate = 1e38;
    config.optimizer.clip_norm = None;
    config.schedule = ScheduleConfig::default();
    let error = Trainer::new(config)
        .unwrap()
        .fit(&network, &weights, &Faces::new(SAMPLES), None, &mut [])
        .unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, .. }), "{error}");
}
