//! Metrics, losses and schedules of one's own.

use super::*;

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
