//! Callbacks that steer a training.

use super::*;

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
