//! Probabilities of the notebook's network through `Classifier`, and explanations, on all cores.

use std::collections::HashMap;
use std::hint::black_box;

use candle_core::Device;
use candle_nn::VarMap;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fer::data::Dataset;
use fer::model::{Classifier, DcnnConfig, ModelConfig};

fn inference(c: &mut Criterion) {
    let classifier = untrained();
    let mut group = c.benchmark_group("inference");
    for batch in [1, 32, 256] {
        let data = Dataset::drawn(batch, 42);
        let pixels: Vec<u8> = (0..batch).flat_map(|i| data.image(i).into_iter().copied()).collect();
        group.sample_size(if batch > 32 { 10 } else { 20 });
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |b| {
            b.iter(|| black_box(classifier.predict_pixels(&pixels).unwrap()));
        });
    }
    group.finish();
}

/// Grad-CAM of a face beside the answer alone.
fn explain(c: &mut Criterion) {
    let classifier = untrained();
    let face = Dataset::drawn(1, 42).picture(0);
    let explainer = classifier.explainer(None).unwrap();
    let mut group = c.benchmark_group("explain");
    group.bench_function("predict", |b| b.iter(|| black_box(classifier.predict(&face).unwrap())));
    group.bench_function("explain", |b| b.iter(|| black_box(explainer.explain(&face, "sad").unwrap())));
    group.bench_function("explain, made anew", |b| {
        b.iter(|| black_box(classifier.explain(&face, "sad").unwrap()))
    });
    group.finish();
}

/// The notebook's network with its initial weights: as fast as with trained ones.
fn untrained() -> Classifier {
    let vars = VarMap::new();
    DcnnConfig::default().network(fer::nn::var_builder(&vars, 42, &Device::Cpu)).unwrap();
    let labels = ["happy", "sad", "neutral"].map(String::from).to_vec();
    let config = ModelConfig::dcnn(DcnnConfig::default(), labels).unwrap();
    let vars = vars.data().lock().unwrap();
    let tensors: HashMap<_, _> =
        vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().detach())).collect();
    Classifier::new(config, &tensors, &Device::Cpu).unwrap()
}

criterion_group!(benches, inference, explain);
criterion_main!(benches);
