//! Trainings that are interrupted and resumed.

use super::*;

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
