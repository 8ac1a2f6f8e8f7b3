//! fer-augment against Keras' own draws and images, of both generations (`golden/augment.py`).

use fer_augment::{Augment, AugmentConfig, Transform};
use fer_rand::RandomState;
use ndarray::{Array3, Array4, Axis};
use serde_json::{Map, Value};

struct Case {
    config: AugmentConfig,
    shape: (usize, usize, usize),
    seed: u32,
    transforms: Vec<Transform>,
    outputs: Vec<Vec<f32>>,
}

impl Case {
    fn from_json(case: &Value) -> Self {
        let mut config = serde_json::to_value(AugmentConfig::identity()).unwrap();
        let changes: Map<String, Value> = field(case, "config");
        config.as_object_mut().unwrap().extend(changes);
        Self {
            config: serde_json::from_value(config).unwrap(),
            shape: field(case, "shape"),
            seed: field(case, "seed"),
            transforms: field(case, "transforms"),
            outputs: field(case, "outputs"),
        }
    }

    fn images(&self) -> Array4<f32> {
        let (channels, height, width) = self.shape;
        let shape = (self.transforms.len(), channels, height, width);
        Array4::from_shape_fn(shape, |(item, c, r, k)| {
            ((97 * c + 37 * r + 11 * k * k + r * k + 53 * item) % 256) as f32 / 255.0
        })
    }

    fn augment(&self) -> Augment {
        Augment::fit(self.config.clone(), self.images().view()).unwrap()
    }
}

fn field<T: serde::de::DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/augment.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    cases.iter().map(Case::from_json).collect()
}

/// The largest distance between two images, and how many pixels are further apart than `near`.
fn distance(found: &Array3<f32>, expected: &[f32], near: f32) -> (f32, usize) {
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    apart.fold((0.0, 0), |(most, far), apart| (most.max(apart), far + usize::from(apart > near)))
}

/// Whether two transforms agree but for what reading JSON may cost: the last bits of the numbers and ranges.
fn is_same(found: &Transform, expected: &Transform) -> bool {
    let numbers = |t: &Transform| {
        let values = [t.channel_shift_intensity, t.brightness];
        let [shift, brightness] = values.map(|value| value.unwrap_or(f64::MAX));
        [t.theta, t.tx, t.ty, t.shear, t.zx, t.zy, shift, brightness]
    };
    let flips = |t: &Transform| (t.flip_horizontal, t.flip_vertical);
    let pairs = numbers(found).into_iter().zip(numbers(expected));
    flips(found) == flips(expected)
        && pairs.into_iter().all(|(found, expected)| (found - expected).abs() < 1e-13)
}

#[test]
fn the_draws_are_those_of_keras_for_every_seed_and_setting() {
    for case in cases() {
        let (_, height, width) = case.shape;
        let (augment, mut rng) = (case.augment(), RandomState::new(case.seed));
        for (item, expected) in case.transforms.iter().enumerate() {
            let drawn = augment.draw(&mut rng, height, width);
            assert!(
                is_same(&drawn, expected),
                "image {item} of {:?}: {drawn:?}, not {expected:?}",
                case.config
            );
        }
    }
}

#[test]
fn the_images_are_those_of_keras_for_every_setting() {
    for case in cases() {
        let (augment, mut rng) = (case.augment(), RandomState::new(case.seed));
        for ((item, expected), image) in case.outputs.iter().enumerate().zip(case.images().outer_iter()) {
            let mut image = image.to_owned();
            augment.image(&mut rng, image.view_mut()).unwrap();
            // Brightness gives whole numbers in 0..=255; the others stay near the images' 0..=1.
            let near = if case.config.brightness_range.is_some() { 1e-4 } else { 1e-6 };
            let scale = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
            let (most, far) = distance(&image, expected, near * scale);
            assert_eq!(far, 0, "image {item} of seed {} is {most} away with {:?}", case.seed, case.config);
        }
    }
}

#[test]
fn every_setting_of_keras_is_among_the_cases() {
    const BEYOND_KERAS: [&str; 5] = ["shift_whole", "zoom_aspect", "contrast_range", "offset_range", "erase"];
    let configs: Vec<AugmentConfig> = cases().into_iter().map(|case| case.config).collect();
    let identity = serde_json::to_value(AugmentConfig::identity()).unwrap();
    let settings = identity.as_object().unwrap().iter();
    for (name, value) in settings.filter(|(name, _)| !BEYOND_KERAS.contains(&name.as_str())) {
        let varied = configs.iter().any(|config| serde_json::to_value(config).unwrap()[name] != *value);
        assert!(varied, "{name} is nowhere other than {value}");
    }
}

#[test]
fn an_image_does_not_depend_on_the_others_of_its_batch() {
    use fer_rand::{Purpose, Stream};
    let case = &cases()[0];
    let augment = case.augment();
    let rng = |item| Stream { seed: 9, purpose: Purpose::named("augment"), epoch: 2, item }.rng();
    let mut batch = ndarray::concatenate(Axis(0), &[case.images().view(); 4]).unwrap();
    augment.batch(batch.view_mut(), |item| rng(item as u32)).unwrap();
    let mut last = case.images().index_axis_move(Axis(0), 0);
    augment.image(&mut rng(3), last.view_mut()).unwrap();
    assert_eq!(batch.index_axis(Axis(0), 3), last);
    assert_ne!(batch.index_axis(Axis(0), 2), last);
}

#[test]
fn the_recipes_are_the_recipe() {
    for name in ["fer2013", "ferplus", "ferplus-short"] {
        let path = format!("{}/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let recipe: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let mut config = toml::Table::try_from(AugmentConfig::identity()).unwrap();
        config.extend(recipe["augment"].as_table().unwrap().clone());
        assert_eq!(config.try_into::<AugmentConfig>().unwrap(), AugmentConfig::recipe(), "{name}");
    }
}
