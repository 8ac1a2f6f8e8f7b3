//! Probabilities of the notebook's network through `Classifier`, on all cores.

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

criterion_group!(benches, inference);
criterion_main!(benches);
