//! One training step of the notebook's network: forward, backward and Adam, dropout on, on all cores; and its gradients under
//! a head of one's own.

use std::hint::black_box;

use candle_core::{Device, Tensor};
use candle_nn::{Module, VarMap};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fer::data::Dataset;
use fer::model::DcnnConfig;
use fer::nn::{Mode, Network, Step, var_builder};
use fer::train::{LossConfig, Optimizer, OptimizerConfig, cross_entropy};

/// Images in a step, as in the notebook.
const BATCH: usize = 32;

fn train_step(c: &mut Criterion) {
    let weights = VarMap::new();
    let network = DcnnConfig::default().network(var_builder(&weights, 42, &Device::Cpu)).unwrap();
    let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
    let (images, labels) = faces(BATCH);
    let mut step = 0;
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10).throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::from_parameter(BATCH), |b| {
        b.iter(|| {
            step += 1;
            let mut value = 0.0;
            let loss = &mut |logits: &Tensor| {
                let loss = cross_entropy(logits, &labels, &LossConfig::default()).unwrap();
                value = loss.to_scalar::<f32>()?;
                Ok(loss)
            };
            let gradients = network.gradients(&images, Step { seed: 42, epoch: 0, step }, loss).unwrap();
            optimizer.step(&weights, &gradients).unwrap();
            black_box(value)
        });
    });
    group.finish();
}

/// The gradients of the same network under a head of candle's: the trunk's own, which the loss continues, and candle's pass
/// through its forward.
fn own_head(c: &mut Criterion) {
    let weights = VarMap::new();
    let vb = var_builder(&weights, 42, &Device::Cpu);
    let trunk = DcnnConfig::default().network(vb.clone()).unwrap();
    let head = candle_nn::linear(3, 3, vb.pp("head")).unwrap();
    let (images, labels) = faces(BATCH);
    let step = Step { seed: 42, epoch: 0, step: 0 };
    let loss = |features: &Tensor| -> candle_core::Result<Tensor> {
        Ok(cross_entropy(&head.forward(features)?, &labels, &LossConfig::default()).unwrap())
    };
    let mut group = c.benchmark_group("own_head");
    group.sample_size(10).throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("the trunk's", |b| {
        b.iter(|| black_box(trunk.gradients(&images, step, &mut |features| loss(features)).unwrap()));
    });
    group.bench_function("candle's", |b| {
        b.iter(|| {
            black_box(loss(&trunk.forward(&images, Mode::Train(step)).unwrap()).unwrap().backward().unwrap())
        });
    });
    group.finish();
}

/// Drawn faces with their classes.
fn faces(batch: usize) -> (Tensor, Tensor) {
    let data = Dataset::drawn(batch, 42);
    let pixels: Vec<f32> =
        (0..batch).flat_map(|i| data.image(i).into_iter().map(|&v| f32::from(v) / 255.0)).collect();
    let labels = data.labels().unwrap().iter().map(|&label| data.encoder().encode(label).unwrap());
    let labels: Vec<u32> = labels.collect();
    (
        Tensor::from_vec(pixels, (batch, 1, 48, 48), &Device::Cpu).unwrap(),
        Tensor::new(labels, &Device::Cpu).unwrap(),
    )
}

criterion_group!(benches, train_step, own_head);
criterion_main!(benches);
