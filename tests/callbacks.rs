//! EarlyStopping and ReduceLROnPlateau do what Keras' do: `golden/callbacks.py`.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarMap};
use fer_metrics::{EpochLog, History};
use fer_train::{Callback, Control, EarlyStopping, Ended, ReduceLrOnPlateau};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    callback: String,
    generation: String,
    settings: serde_json::Map<String, serde_json::Value>,
    rate: f32,
    metrics: Vec<Option<f64>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    stopped: Option<usize>,
    weights: Option<u32>,
    /// The epoch after which the learning rate changed, and what it then was.
    rates: Option<Vec<(usize, f64)>>,
    said: Option<Vec<String>>,
}

fn cases(callback: &str) -> Vec<Case> {
    let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/callbacks.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&golden).unwrap();
    cases.into_iter().filter(|case| case.callback == callback).collect()
}

/// What a callback did in a training in which the network's only weight is the number of the epoch.
#[derive(Debug, PartialEq)]
struct Done {
    stopped: Option<usize>,
    weights: u32,
    rates: Vec<(usize, f64)>,
    said: Vec<String>,
}

fn run(callback: &mut dyn Callback, case: &Case) -> Done {
    let weights = VarMap::new();
    weights.get((), "epoch", Init::Const(0.0), DType::F32, &Device::Cpu).unwrap();
    let epoch_weight = weights.all_vars().remove(0);
    let mut done = Done { stopped: None, weights: 0, rates: Vec::new(), said: Vec::new() };
    let (mut history, mut rate) = (History::default(), case.rate);
    callback.on_train_begin(&mut Control::new(&history, &weights, 100, rate)).unwrap();
    for (value, epoch) in case.metrics.iter().zip(1..) {
        let value = Some(value.unwrap_or(f64::NAN));
        let learning_rate = f64::from(rate);
        let log =
            EpochLog { epoch, val_loss: value, val_accuracy: value, learning_rate, ..Default::default() };
        history.epochs.push(log);
        epoch_weight.set(&Tensor::new(epoch as f32, &Device::Cpu).unwrap()).unwrap();
        let mut control = Control::new(&history, &weights, 100, rate);
        callback.on_epoch_end(&mut control).unwrap();
        done.said.extend_from_slice(control.messages());
        if epoch == 1 || control.learning_rate != rate {
            done.rates.push((epoch, f64::from(control.learning_rate)));
        }
        rate = control.learning_rate;
        if control.stop {
            done.stopped = Some(epoch);
            break;
        }
    }
    let ended = if done.stopped.is_some() { Ended::Stopped } else { Ended::Completed };
    let mut control = Control::new(&history, &weights, 100, rate);
    callback.on_train_end(&mut control, ended).unwrap();
    done.said.extend_from_slice(control.messages());
    done.weights = epoch_weight.to_scalar::<f32>().unwrap() as u32;
    done
}

fn early_stopping(case: &Case) -> EarlyStopping {
    let mut settings = case.settings.clone();
    settings.insert("generation".into(), case.generation.clone().into());
    EarlyStopping::new(serde_json::from_value(settings.into()).unwrap())
}

fn reduce_lr(case: &Case) -> ReduceLrOnPlateau {
    let settings = case.settings.clone();
    ReduceLrOnPlateau::new(serde_json::from_value(settings.into()).unwrap()).unwrap()
}

#[test]
fn early_stopping_stops_and_restores_as_keras_does() {
    let cases = cases("EarlyStopping");
    assert!(cases.len() > 100);
    for (index, case) in cases.iter().enumerate() {
        let done = run(&mut early_stopping(case), case);
        let expected = (case.expected.stopped, case.expected.weights.unwrap());
        assert_eq!((done.stopped, done.weights), expected, "case {index}: {:?}", case.settings);
    }
}

#[test]
fn reduce_lr_on_plateau_reduces_and_prints_as_keras_does() {
    let cases = cases("ReduceLROnPlateau");
    assert!(cases.len() > 100);
    for (index, case) in cases.iter().enumerate() {
        let done = run(&mut reduce_lr(case), case);
        assert_eq!(&done.rates, case.expected.rates.as_ref().unwrap(), "case {index}: {:?}", case.settings);
        if let Some(said) = &case.expected.said {
            assert_eq!(&done.said, said, "case {index}: {:?}", case.settings);
        }
    }
}

#[test]
fn the_notebooks_training_stops_where_it_did() {
    let case = &cases("EarlyStopping")[0];
    let mut stopping = early_stopping(case);
    let done = run(&mut stopping, case);
    assert_eq!((stopping.best_epoch(), stopping.stopped_epoch()), (Some(46), Some(57)));
    assert_eq!((done.weights, done.stopped), (46, Some(57)));
    assert_eq!(
        done.said,
        ["Restoring model weights from the end of the best epoch.", "Epoch 00057: early stopping"]
    );
    let case = &cases("ReduceLROnPlateau")[0];
    assert_eq!(
        run(&mut reduce_lr(case), case).said,
        [
            "Epoch 00022: ReduceLROnPlateau reducing learning rate to 0.0005000000237487257.",
            "Epoch 00033: ReduceLROnPlateau reducing learning rate to 0.0002500000118743628.",
            "Epoch 00053: ReduceLROnPlateau reducing learning rate to 0.0001250000059371814."
        ]
    );
}
