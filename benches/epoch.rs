//! What loading and augmentation cost a training: four steps of the notebook's network over a `DeviceLoader` that
//! augments as the notebook does, and over batches that are ready in memory.

use candle_core::{Device, Tensor};
use candle_nn::VarMap;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use fer::DeviceLoader;
use fer::augment::{Augment, AugmentConfig};
use fer::data::{Dataset, Loader, LoaderConfig};
use fer::model::DcnnConfig;
use fer::nn::var_builder;
use fer::train::{Batches, TensorBatches, TrainConfig, Trainer};

/// Images in an epoch.
const IMAGES: usize = 128;

fn epoch(c: &mut Criterion) {
    let augment = Augment::new(AugmentConfig::default()).unwrap();
    let loader = Loader::new(Dataset::drawn(IMAGES, 42), LoaderConfig::default()).unwrap();
    let loader = DeviceLoader::new(loader, Device::Cpu).augmented(augment);
    let tensors = ready(&loader);
    let trainer = Trainer::new(TrainConfig { epochs: 1, ..TrainConfig::default() }).unwrap();

    let mut group = c.benchmark_group("epoch");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(IMAGES as u64));
    for (name, batches) in [("tensors", &tensors as &dyn Batches), ("loader", &loader)] {
        let weights = VarMap::new();
        let network = DcnnConfig::default().network(var_builder(&weights, 42, &Device::Cpu)).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| trainer.fit(&network, &weights, batches, None, &mut []).unwrap());
        });
    }
    group.finish();
}

/// The first epoch of `loader`, in memory.
fn ready(loader: &DeviceLoader) -> TensorBatches {
    let batches: Vec<_> = loader.epoch(0).map(Result::unwrap).collect();
    let images: Vec<_> = batches.iter().map(|batch| &batch.images).collect();
    let labels: Vec<_> = batches.iter().map(|batch| &batch.targets).collect();
    let (images, labels) = (Tensor::cat(&images, 0).unwrap(), Tensor::cat(&labels, 0).unwrap());
    TensorBatches::new(images, labels, batches[0].targets.elem_count()).unwrap()
}

criterion_group!(benches, epoch);
criterion_main!(benches);
