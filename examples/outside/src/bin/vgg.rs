//! A VGG with a global mean, trained on faces that the project draws, saved, opened again and measured.

use std::error::Error;

use candle_core::Device;
use candle_nn::VarMap;
use fer_data::{Dataset, Loader, LoaderConfig, Split};
use fer_metrics::ConfusionMatrix;
use fer_model::{Classifier, Input, ModelConfig, VggConfig};
use fer_train::{
    Batch, Batches, BoxError, EarlyStopping, EarlyStoppingConfig, FnBatches, OptimizerConfig, Progress,
    TrainConfig, Trainer,
};

/// The batches of a loader.
fn batches(data: &Dataset, shuffle: bool) -> Result<impl Batches, fer_data::Error> {
    let loader = Loader::new(data.clone(), LoaderConfig { shuffle, ..Default::default() })?;
    Ok(FnBatches::new(loader.samples(), loader.batches(), move |epoch| {
        loader.epoch(epoch).map(|batch| {
            let tensors = batch?.to_tensors(&Device::Cpu)?;
            Ok::<_, BoxError>(Batch { images: tensors.images, targets: tensors.labels })
        })
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let faces = Dataset::drawn(2000, 42);
    let subsets = faces.split(Split::stratified(0.2))?;
    let names: Vec<String> = faces.encoder().names().into_iter().map(String::from).collect();
    let vgg =
        VggConfig { widths: vec![8, 16, 32], dropout: vec![0.0; 3], head_dropout: 0.1, ..Default::default() };
    let config = ModelConfig::new(vgg, Input::grey(48), names.clone())?;

    let weights = VarMap::new();
    let network = config.network(fer_nn::var_builder(&weights, 42, &Device::Cpu))?;
    let mut stopping = EarlyStopping::new(EarlyStoppingConfig { patience: 4, ..Default::default() });
    let mut progress = Progress::lines(std::io::stdout());
    let optimizer = OptimizerConfig { learning_rate: 0.003, ..Default::default() };
    let trainer = Trainer::new(TrainConfig { epochs: 10, optimizer, ..Default::default() })?;
    let (train, valid) = (batches(&subsets.train, true)?, batches(&subsets.valid, false)?);
    trainer.fit(&network, &weights, &train, Some(&valid), &mut [&mut stopping, &mut progress])?;

    let folder = std::env::temp_dir().join("outside-vgg");
    fer_model::save(&folder, &config, &weights)?;
    let classifier = Classifier::open(&folder)?;
    let pictures: Vec<_> = (0..subsets.valid.len()).map(|i| subsets.valid.picture(i)).collect();
    let class = |label: &str| names.iter().position(|name| name == label).unwrap_or_default();
    let predicted: Vec<usize> =
        classifier.predict_batch(&pictures)?.iter().map(|p| class(&p.label)).collect();
    let truth: Vec<usize> = (0..pictures.len())
        .filter_map(|i| subsets.valid.label(i))
        .map(|label| class(faces.encoder().name(label).unwrap_or_default()))
        .collect();
    let matrix = ConfusionMatrix::new(&truth, &predicted, names.len())?;
    println!("{}", matrix.report().named(&names)?);
    assert!(matrix.accuracy() > matrix.majority_baseline() + 0.1, "nothing was learned");
    Ok(())
}
