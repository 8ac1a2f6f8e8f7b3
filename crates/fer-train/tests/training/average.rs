//! The average of the weights.

use super::*;

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
