//! The layers of the network as a table: names, shapes and parameters, as Keras' `summary()` prints them.

use std::fmt::Write;

use crate::DcnnConfig;

/// One row of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// The layer's name, which its tensors begin with.
    pub name: String,
    /// What it is, by Keras' class name.
    pub kind: LayerKind,
    /// The output for one image: `(height, width, channels)` or `(units)`, as Keras shows it.
    pub output: Vec<usize>,
    /// The layer's tensors: their names within the layer and their shapes.
    pub tensors: Vec<(&'static str, Vec<usize>)>,
}

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are Keras' own")]
pub enum LayerKind {
    Conv2D,
    BatchNormalization,
    MaxPooling2D,
    Dropout,
    Flatten,
    Dense,
}

impl LayerInfo {
    /// The number of values in the layer's tensors.
    pub fn parameters(&self) -> Parameters {
        let mut count = Parameters::default();
        for (name, shape) in &self.tensors {
            let values = shape.iter().product::<usize>();
            match *name {
                "running_mean" | "running_var" => count.fixed += values,
                _ => count.trainable += values,
            }
        }
        count
    }
}

/// A number of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Those that the optimiser changes.
    pub trainable: usize,
    /// The moving statistics.
    pub fixed: usize,
}

impl Parameters {
    /// All of them.
    pub fn total(self) -> usize {
        self.trainable + self.fixed
    }
}

impl DcnnConfig {
    /// The layers, first to last.
    ///
    /// ```
    /// use fer_model::DcnnConfig;
    /// let layers = DcnnConfig::default().layers();
    /// assert_eq!((layers[0].name.as_str(), layers[0].parameters().total()), ("conv2d_1", 1_664));
    /// ```
    pub fn layers(&self) -> Vec<LayerInfo> {
        use LayerKind::*;
        let mut layers = Vec::new();
        let mut add = |name: String, kind, output: &[usize], tensors| {
            layers.push(LayerInfo { name, kind, output: output.to_vec(), tensors });
        };
        let norm = |channels: usize| {
            ["weight", "bias", "running_mean", "running_var"].map(|name| (name, vec![channels])).to_vec()
        };
        let (mut channels, mut height, mut width) = (self.channels, self.height, self.width);
        for (i, block) in self.blocks.iter().enumerate() {
            let (filters, kernel) = (block.filters, block.kernel);
            for n in [2 * i + 1, 2 * i + 2] {
                let output = [height, width, filters];
                let weight = vec![filters, channels, kernel, kernel];
                let tensors = vec![("weight", weight), ("bias", vec![filters])];
                add(format!("conv2d_{n}"), Conv2D, &output, tensors);
                add(format!("batchnorm_{n}"), BatchNormalization, &output, norm(filters));
                channels = filters;
            }
            (height, width) = (height / 2, width / 2);
            let output = [height, width, channels];
            add(format!("maxpool2d_{}", i + 1), MaxPooling2D, &output, vec![]);
            add(format!("dropout_{}", i + 1), Dropout, &output, vec![]);
        }
        let (blocks, features, units) = (self.blocks.len(), channels * height * width, self.dense_units);
        let dense = |inputs, units| vec![("weight", vec![units, inputs]), ("bias", vec![units])];
        add("flatten".into(), Flatten, &[features], vec![]);
        add("dense_1".into(), Dense, &[units], dense(features, units));
        add(format!("batchnorm_{}", 2 * blocks + 1), BatchNormalization, &[units], norm(units));
        add(format!("dropout_{}", blocks + 1), Dropout, &[units], vec![]);
        add("out_layer".into(), Dense, &[self.classes], dense(units, self.classes));
        layers
    }

    /// Every tensor of the network: its full name and its shape.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers().into_iter().flat_map(|layer| {
            let name = layer.name;
            layer.tensors.into_iter().map(move |(tensor, shape)| (format!("{name}.{tensor}"), shape))
        })
    }

    /// The parameters of the whole network.
    pub fn parameters(&self) -> Parameters {
        self.layers().iter().map(LayerInfo::parameters).fold(Parameters::default(), |sum, layer| Parameters {
            trainable: sum.trainable + layer.trainable,
            fixed: sum.fixed + layer.fixed,
        })
    }

    /// The table that Keras' `model.summary()` prints.
    pub fn summary(&self) -> String {
        let (rule, double) = ("_".repeat(65), "=".repeat(65));
        let mut text = format!("Model: \"DCNN\"\n{rule}\n");
        let mut row = |layer: &str, output: &str, count: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", format!("{layer:<29}{output:<26}{count}").trim_end());
        };
        row("Layer (type)", "Output Shape", "Param #");
        row(&double, "", "");
        let layers = self.layers();
        for (i, layer) in layers.iter().enumerate() {
            let output = layer.output.iter().fold(String::from("(None"), |s, n| s + ", " + &n.to_string());
            let title = format!("{} ({:?})", layer.name, layer.kind);
            // Like Keras, a name that is too long for its column is cut.
            let title: String = title.chars().take(28).collect();
            row(&title, &(output + ")"), &layer.parameters().total().to_string());
            row(if i + 1 < layers.len() { &rule } else { &double }, "", "");
        }
        let Parameters { trainable, fixed } = self.parameters();
        row(&format!("Total params: {}", thousands(trainable + fixed)), "", "");
        row(&format!("Trainable params: {}", thousands(trainable)), "", "");
        row(&format!("Non-trainable params: {}", thousands(fixed)), "", "");
        row(&rule, "", "");
        text
    }
}

/// 2395075 as `2,395,075`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_the_notebooks() {
        let layers = DcnnConfig::default().layers();
        let rows: Vec<(&str, &[usize], usize)> =
            layers.iter().map(|l| (l.name.as_str(), &l.output[..], l.parameters().total())).collect();
        assert_eq!(
            rows,
            [
                ("conv2d_1", &[48, 48, 64][..], 1664),
                ("batchnorm_1", &[48, 48, 64], 256),
                ("conv2d_2", &[48, 48, 64], 102464),
                ("batchnorm_2", &[48, 48, 64], 256),
                ("maxpool2d_1", &[24, 24, 64], 0),
                ("dropout_1", &[24, 24, 64], 0),
                ("conv2d_3", &[24, 24, 128], 73856),
                ("batchnorm_3", &[24, 24, 128], 512),
                ("conv2d_4", &[24, 24, 128], 147584),
                ("batchnorm_4", &[24, 24, 128], 512),
                ("maxpool2d_2", &[12, 12, 128], 0),
                ("dropout_2", &[12, 12, 128], 0),
                ("conv2d_5", &[12, 12, 256], 295168),
                ("batchnorm_5", &[12, 12, 256], 1024),
                ("conv2d_6", &[12, 12, 256], 590080),
                ("batchnorm_6", &[12, 12, 256], 1024),
                ("maxpool2d_3", &[6, 6, 256], 0),
                ("dropout_3", &[6, 6, 256], 0),
                ("flatten", &[9216], 0),
                ("dense_1", &[128], 1179776),
                ("batchnorm_7", &[128], 512),
                ("dropout_4", &[128], 0),
                ("out_layer", &[3], 387),
            ]
        );
        let text = DcnnConfig::default().summary();
        assert!(text.starts_with("Model: \"DCNN\"\n"));
        assert!(text.contains("conv2d_1 (Conv2D)            (None, 48, 48, 64)        1664\n"), "{text}");
        assert!(text.contains("Total params: 2,395,075\nTrainable params: 2,393,027\n"));
        assert!(text.contains("Non-trainable params: 2,048\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 65));
    }

    #[test]
    fn odd_sizes_lose_their_last_row_as_pooling_does() {
        let config = DcnnConfig { height: 50, width: 27, ..Default::default() };
        let flatten = config.layers().into_iter().find(|layer| layer.name == "flatten");
        assert_eq!(flatten.map(|layer| layer.output), Some(vec![256 * 6 * 3]));
        assert_eq!(config.features(), (256, 6, 3));
    }
}
