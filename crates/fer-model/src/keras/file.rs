//! What a Keras file holds: its layers with weights, in their order, whatever layout they are stored in.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use fer_files::printable;
use hdf5_pure::{AttrValue, Dataset, File, Group};

use super::names::{numbered, snake_case};
use crate::saved::check_shape;
use crate::{Error, Result};

/// Values that are read are at most this many times the file: Keras does not compress, and weights hardly
/// shrink.
pub(super) const MAX_EXPANSION: u64 = 8;

/// Where the layers are in what Keras 2.13 and tf-keras wrote first.
const TRACKED: &str = "_layer_checkpoint_dependencies";

/// A Keras file, its weights not yet read.
pub(super) struct KerasFile {
    /// The architecture as JSON, in a file that holds a whole model.
    pub model_config: Option<String>,
    /// Whether it says that Keras 3 wrote it.
    pub keras3: bool,
    /// The layers that have weights.
    pub layers: Vec<StoredLayer>,
}

impl KerasFile {
    /// Gives the layers of a numbered file the names that the description lists with their classes: the file has
    /// `conv2d`, `conv2d_1`, … in the description's order, unless it says the names itself.
    pub fn name_by(&mut self, listed: &[(&str, &str)]) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (class, name) in listed {
            let count = counts.entry(snake_case(class)).or_default();
            let group = numbered(class, *count);
            *count += 1;
            if !self.layers.iter().any(|layer| layer.is_named(name))
                && let Some(layer) = self.layers.iter_mut().find(|layer| layer.group.as_ref() == Some(&group))
            {
                layer.rename(name);
            }
        }
    }

    /// Takes out the weights of a layer, of which there must be so many.
    pub fn take<'a>(&mut self, layer: &str, count: usize, file: &'a str) -> Result<Weights<'a>> {
        let Some(at) = self.layers.iter().position(|stored| stored.is_named(layer)) else {
            return Err(Error::MissingTensor { name: file.to_owned(), tensor: layer.to_owned() });
        };
        let weights = self.layers.remove(at).weights;
        if weights.len() != count {
            let found = format!("{} weights", weights.len());
            return Err(Error::keras_layer(file, layer, found, format!("{count}, as its description says")));
        }
        Ok(Weights { file, weights: weights.into_iter() })
    }

    /// The layers whose weights nobody took.
    pub fn rest(&self) -> impl Iterator<Item = &StoredLayer> {
        self.layers.iter()
    }
}

/// The weights of a layer in Keras' order.
pub(super) struct Weights<'a> {
    file: &'a str,
    weights: std::vec::IntoIter<Weight>,
}

impl Weights<'_> {
    /// The next one, which must have this shape.
    pub fn next(&mut self, shape: &[usize]) -> Result<Tensor> {
        // `take` has counted them.
        let Some(weight) = self.weights.next() else {
            return Err(Error::keras(self.file, "a layer has too few weights"));
        };
        check_shape(self.file, &weight.path, &["F32"], shape, &weight.dtype, &weight.shape)?;
        let values = weight.read(self.file)?;
        if !values.iter().all(|v| v.is_finite()) {
            return Err(Error::NotFinite { name: self.file.to_owned(), tensor: printable(&weight.path) });
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// A layer with weights.
pub(super) struct StoredLayer {
    pub name: String,
    /// Its place in a numbered file that does not say its name.
    group: Option<String>,
    /// In Keras' order: kernel, bias; gamma, beta, moving mean, moving variance.
    pub weights: Vec<Weight>,
}

impl StoredLayer {
    /// Whether this is its name in the description.
    fn is_named(&self, name: &str) -> bool {
        self.group.is_none() && self.name == name
    }

    /// Gives it the name that it has in the description.
    pub fn rename(&mut self, name: &str) {
        self.name = name.to_owned();
        self.group = None;
    }

    /// Whether its name is one that Keras makes up for a class.
    pub fn is_of(&self, class: &str) -> bool {
        self.name.starts_with(&snake_case(class))
    }

    /// The class that has weights of these shapes and names, for a file that does not say it.
    pub fn class(&self, file: &str) -> Result<&'static str> {
        let ranks: Vec<usize> = self.weights.iter().map(|weight| weight.shape.len()).collect();
        let unexpected = || {
            let mut found: Vec<String> =
                self.weights.iter().map(|w| format!("{} {:?}", w.leaf(), w.shape)).collect();
            if let Some(more @ 1..) = found.len().checked_sub(4) {
                found.truncate(4);
                found.push(format!("and {more} more"));
            }
            let expected = "those of a Conv2D, BatchNormalization or Dense layer";
            Error::keras_layer(file, &self.name, format!("weights {}", found.join(", ")), expected)
        };
        // Kernels come before biases, so that the ranks tell the kind.
        let (class, names) = match ranks[..] {
            [4, 1] => ("Conv2D", &["kernel", "bias"][..]),
            [2, 1] => ("Dense", &["kernel", "bias"][..]),
            [1, 1, 1, 1] => ("BatchNormalization", &["gamma", "beta", "moving_mean", "moving_variance"][..]),
            _ => return Err(unexpected()),
        };
        let is_numbered = self.weights.iter().all(|w| w.leaf().parse::<u64>().is_ok());
        match is_numbered || self.weights.iter().map(Weight::leaf).eq(names.iter().copied()) {
            true => Ok(class),
            false => Err(unexpected()),
        }
    }
}

/// A tensor in the file.
pub(super) struct Weight {
    pub path: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    data: Dataset,
}

impl Weight {
    fn open(group: &Group, path: String, within: &str, name: &str) -> Result<Self> {
        let hdf5 = Error::hdf5(name);
        let data = group.dataset(within).map_err(&hdf5)?;
        let dtype = data.dtype().map_err(&hdf5)?.to_string().to_uppercase();
        let shape = data.shape().map_err(&hdf5)?.into_iter();
        // A dimension beyond usize fits no architecture either.
        let shape = shape.map(|d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
        Ok(Self { path, dtype, shape, data })
    }

    /// The values in Keras' order.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        self.data.read_f32().map_err(Error::hdf5(name))
    }

    /// The last part of its name, as `kernel` of `conv2d_1/kernel:0`.
    fn leaf(&self) -> &str {
        let leaf = self.path.rsplit('/').next().unwrap_or_default();
        leaf.split(':').next().unwrap_or_default()
    }
}

/// Reads a file's structure; `name` stands for it in errors.
pub(super) fn read(bytes: Vec<u8>, name: &str) -> Result<KerasFile> {
    let hdf5 = Error::hdf5(name);
    let size = bytes.len() as u64;
    let root = File::from_bytes(bytes).map_err(&hdf5)?.root();
    let groups = root.groups().map_err(&hdf5)?;
    let has = |group: &str| groups.iter().any(|g| g == group);

    let attributes = root.attrs().map_err(&hdf5)?;
    let model_config = attributes.get("model_config").and_then(AttrValue::as_str).map(str::to_owned);
    let (path, base) = match has("model_weights") {
        true => ("model_weights/", root.group("model_weights").map_err(&hdf5)?),
        false => ("", root.clone()),
    };
    let attributes = base.attrs().map_err(&hdf5)?;
    let version = attributes.get("keras_version").and_then(AttrValue::as_str);
    let layers = match strings(&attributes, "layer_names") {
        Some(names) => named_layers(&base, path, &names, name)?,
        None if has("layers") => numbered_layers(&root.group("layers").map_err(&hdf5)?, name)?,
        None if has(TRACKED) => numbered_layers(&root.group(TRACKED).map_err(&hdf5)?, name)?,
        None => return Err(Error::keras(name, "neither 'layer_names' nor 'layers': no weights of Keras")),
    };

    let count = |weight: &Weight| weight.shape.iter().fold(4, |n: u64, &d| n.saturating_mul(d as u64));
    let total = layers.iter().flat_map(|l| &l.weights).map(count).fold(0, u64::saturating_add);
    if total > size.saturating_mul(MAX_EXPANSION) {
        return Err(Error::keras(
            name,
            format!("{total} bytes of weights cannot be in a file of {size} bytes"),
        ));
    }
    Ok(KerasFile { model_config, keras3: version.is_some_and(|v| v.starts_with("3.")), layers })
}

/// The layout of Keras 2 and of Keras 3's whole models: a group a layer, which lists its weights.
fn named_layers(base: &Group, path: &str, names: &[String], name: &str) -> Result<Vec<StoredLayer>> {
    let hdf5 = Error::hdf5(name);
    let mut layers = Vec::new();
    for layer in names {
        let group = base.group(layer).map_err(&hdf5)?;
        let Some(weights) = strings(&group.attrs().map_err(&hdf5)?, "weight_names") else {
            return Err(Error::keras_layer(name, layer, "no attribute 'weight_names'", "the weights' names"));
        };
        let open = |weight: &String| Weight::open(&group, format!("{path}{layer}/{weight}"), weight, name);
        let weights: Vec<Weight> = weights.iter().map(open).collect::<Result<_, _>>()?;
        if !weights.is_empty() {
            layers.push(StoredLayer { name: layer.clone(), group: None, weights });
        }
    }
    Ok(layers)
}

/// The layout of `.weights.h5`: groups named by class and number, weights by number.
fn numbered_layers(base: &Group, name: &str) -> Result<Vec<StoredLayer>> {
    let hdf5 = Error::hdf5(name);
    let mut groups: Vec<(String, Group)> = base.iter_groups().map_err(&hdf5)?.collect();
    groups.sort_by_cached_key(|(layer, _)| {
        match layer.rsplit_once('_').map(|(c, n)| (c, n.parse::<u64>())) {
            Some((class, Ok(number))) => (class.to_owned(), number),
            _ => (layer.clone(), 0),
        }
    });
    let mut layers = Vec::new();
    for (group, contents) in groups {
        if !contents.groups().map_err(&hdf5)?.iter().any(|g| g == "vars") {
            continue;
        }
        let vars = contents.group("vars").map_err(&hdf5)?;
        let attributes = vars.attrs().map_err(&hdf5)?;
        let own = attributes.get("name").and_then(AttrValue::as_str).map(str::to_owned);
        let mut numbers = vars.datasets().map_err(&hdf5)?;
        numbers.sort_by_cached_key(|number| number.parse::<u64>().unwrap_or(u64::MAX));
        let open =
            |number: &String| Weight::open(&vars, format!("layers/{group}/vars/{number}"), number, name);
        let weights: Vec<Weight> = numbers.iter().map(open).collect::<Result<_, _>>()?;
        if !weights.is_empty() {
            let (name, group) = own.map_or((group.clone(), Some(group.clone())), |own| (own, None));
            layers.push(StoredLayer { name, group, weights });
        }
    }
    Ok(layers)
}

/// The strings of an attribute, of whatever HDF5 type. Keras splits what is too long for one attribute into
/// `key0`, `key1`, … and stores an empty list as no floats.
fn strings(attributes: &HashMap<String, AttrValue>, key: &str) -> Option<Vec<String>> {
    let list = |value: &AttrValue| match value.to_f64s() {
        Some(floats) => floats.is_empty().then(Vec::new),
        None => value.as_strings().map(<[String]>::to_vec),
    };
    if let Some(value) = attributes.get(key) {
        return list(value);
    }
    let parts = (0..).map_while(|i| attributes.get(&format!("{key}{i}")));
    let parts: Vec<Vec<String>> = parts.map(list).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.concat())
}
