//! Optimisers, schedules, averages, losses and mixup are PyTorch's: `tests/golden/make_pytorch.py` of the workspace.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, Linear, Module, VarMap};
use fer_nn::engine::Mix;
use fer_nn::{Mode, Network};
use fer_train::{
    Batch, BoxError, Callback, Checkpoint, Control, LossConfig, ScheduleConfig, TensorBatches, TrainConfig,
    Trainer, cross_entropy, weights,
};
use serde::Deserialize;

/// Of every number, relative to the larger of it and 0.1.
const TOLERANCE: f64 = 1e-5;
const CLASSES: usize = 3;
const BATCH: usize = 4;
const INPUTS: usize = 6;
const HIDDEN: usize = 5;

#[derive(Deserialize)]
struct Golden {
    images: Vec<f64>,
    shares: Vec<f64>,
    labels: Vec<u32>,
    start: [Vec<f64>; 4],
    trainings: Vec<Training>,
    schedules: Vec<Schedule>,
    losses: Losses,
    mixed: Mixed,
}

#[derive(Deserialize)]
struct Training {
    name: String,
    config: serde_json::Map<String, serde_json::Value>,
    targets: String,
    losses: Vec<f64>,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct Epoch {
    weights: [Vec<f64>; 4],
    average: Option<[Vec<f64>; 4]>,
}

#[derive(Deserialize)]
struct Schedule {
    config: ScheduleConfig,
    epoch_steps: usize,
    factors: Vec<f64>,
}

#[derive(Deserialize)]
struct Losses {
    logits: Vec<f64>,
    shares: Vec<f64>,
    cases: Vec<LossCase>,
}

#[derive(Deserialize)]
struct LossCase {
    config: LossConfig,
    loss: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Mixed {
    share: f32,
    partners: Vec<u32>,
    images: Vec<f64>,
    shares: Vec<f64>,
    of_labels: Vec<f64>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/pytorch.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / expected.abs().max(0.1);
        assert!(error <= tolerance, "{what}: {found}, PyTorch {expected}: off by {error:e}");
    }
}

fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap().reshape(shape).unwrap().to_dtype(dtype).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The script's network.
struct TwoLayers(Linear, Linear);

const NAMES: [&str; 4] = ["1.weight", "2.bias", "3.weight", "4.bias"];
const SHAPES: [&[usize]; 4] = [&[HIDDEN, INPUTS], &[HIDDEN], &[CLASSES, HIDDEN], &[CLASSES]];

impl TwoLayers {
    fn new(weights: &VarMap, start: &[Vec<f64>; 4], dtype: DType) -> Self {
        let make =
            |(name, shape): (&str, &[usize])| weights.get(shape, name, Init::Const(0.0), dtype, &Device::Cpu);
        let variables: Vec<Tensor> = NAMES.into_iter().zip(SHAPES).map(|pair| make(pair).unwrap()).collect();
        for ((name, shape), start) in NAMES.into_iter().zip(SHAPES).zip(start) {
            weights.data().lock().unwrap()[name].set(&tensor(start, shape, dtype)).unwrap();
        }
        let layer = |at: usize| Linear::new(variables[at].clone(), Some(variables[at + 1].clone()));
        Self(layer(0), layer(2))
    }
}

impl Network for TwoLayers {
    fn forward(&self, images: &Tensor, _: Mode) -> candle_core::Result<Tensor> {
        let images = images.flatten_from(1)?.to_dtype(self.0.weight().dtype())?;
        self.1.forward(&self.0.forward(&images)?.elu(1.0)?)
    }
}

fn batches(golden: &Golden, targets: &str) -> TensorBatches {
    let samples = golden.labels.len();
    let images = tensor(&golden.images, &[samples, 1, 2, 3], DType::F64);
    let targets = match targets {
        "labels" => Tensor::new(golden.labels.as_slice(), &Device::Cpu).unwrap(),
        _ => tensor(&golden.shares, &[samples, CLASSES], DType::F32),
    };
    TensorBatches::new(images, targets, BATCH).unwrap()
}

/// Keeps what the variables hold at the end of each epoch.
#[derive(Default)]
struct Seen(Vec<weights::Weights>);

impl Callback for Seen {
    fn name(&self) -> &str {
        "Seen"
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        self.0.push(weights::snapshot(control.weights)?);
        Ok(())
    }
}

fn trains_as_pytorch(golden: &Golden, case: &Training, dtype: DType, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let vars = VarMap::new();
    let network = TwoLayers::new(&vars, &golden.start, dtype);
    let config: TrainConfig = serde_json::from_value(case.config.clone().into()).unwrap();
    let train = batches(golden, &case.targets);
    let steps = case.losses.len() / case.epochs.len();
    let config = TrainConfig { epochs: case.epochs.len() as u32, ..config };
    let mut seen = Seen::default();
    let trainer = Trainer::new(config).unwrap().checkpoint(&path);
    let outcome = trainer.fit(&network, &vars, &train, None, &mut [&mut seen]).unwrap();
    for (epoch, expected) in case.epochs.iter().enumerate() {
        let name = format!("{} {dtype:?}, epoch {}", case.name, epoch + 1);
        let losses = &case.losses[epoch * steps..][..steps];
        let loss = losses.iter().sum::<f64>() / steps as f64;
        assert_close(&name, &[outcome.history.epochs[epoch].loss], &[loss], tolerance);
        // What callbacks see is the average, where there is one.
        let shown = expected.average.as_ref().unwrap_or(&expected.weights);
        for (tensor, expected) in seen.0[epoch].values().zip(shown) {
            assert_close(&name, &values(tensor), expected, tolerance);
        }
    }
    // The checkpoint has the weights themselves.
    let last = case.epochs.last().unwrap();
    for (tensor, expected) in Checkpoint::load(&path).unwrap().weights().values().zip(&last.weights) {
        assert_close(&case.name, &values(tensor), expected, tolerance);
    }
}

#[test]
fn twenty_steps_are_those_of_pytorch() {
    let golden = golden();
    assert_eq!(golden.trainings.len(), 9);
    for case in &golden.trainings {
        assert_eq!((case.losses.len(), case.epochs.len()), (20, 4));
        trains_as_pytorch(&golden, case, DType::F64, TOLERANCE);
        // Twenty steps of f32 add their rounding.
        trains_as_pytorch(&golden, case, DType::F32, 5.0 * TOLERANCE);
    }
}

#[test]
fn schedules_are_those_of_pytorch() {
    for Schedule { config, epoch_steps, factors } in golden().schedules {
        let total = factors.len() as u64;
        let found: Vec<f64> = (0..total).map(|step| config.factor(step, epoch_steps, total)).collect();
        for (found, expected) in found.iter().zip(&factors) {
            assert!((found - expected).abs() < 1e-9, "{config:?}: {found} {expected}");
        }
    }
}

#[test]
fn soft_targets_and_focal_loss_are_those_of_pytorch() {
    let Losses { logits, shares, cases } = golden().losses;
    let shares = tensor(&shares, &[logits.len() / CLASSES, CLASSES], DType::F64);
    assert_eq!(cases.len(), 4);
    for LossCase { config, loss, gradient } in cases {
        let logits = Var::from_tensor(&tensor(&logits, shares.dims(), DType::F64)).unwrap();
        let found = cross_entropy(&logits, &shares, &config).unwrap();
        assert_close(&format!("{config:?}"), &[found.to_scalar().unwrap()], &[loss], 1e-9);
        let gradients = found.backward().unwrap();
        assert_close(&format!("{config:?}"), &values(gradients.get(&logits).unwrap()), &gradient, 1e-8);
    }
}

#[test]
fn a_batch_is_blended_as_in_pytorch() {
    let golden = golden();
    let Mixed { share, partners, images, shares, of_labels } = &golden.mixed;
    let mix = Mix { share: *share, partners: partners.clone() };
    let first = |targets: &str| -> Batch {
        use fer_train::Batches;
        batches(&golden, targets).epoch(0).next().unwrap().unwrap()
    };
    let mixed = first("shares").mixed(&mix, CLASSES).unwrap();
    assert_close("images", &values(&mixed.images), images, 1e-6);
    assert_close("shares", &values(&mixed.targets), shares, 1e-6);
    let mixed = first("labels").mixed(&mix, CLASSES).unwrap();
    assert_close("labels", &values(&mixed.targets), of_labels, 1e-6);
}
