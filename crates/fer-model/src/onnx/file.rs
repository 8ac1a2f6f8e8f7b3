//! What an ONNX file says besides its operators.

use super::config::OnnxConfig;
use super::convert::Network;
use super::proto::{Entry, FLOAT, Graph, Model, OperatorSet, UINT8, ValueInfo};
use crate::ModelConfig;

/// The version of ONNX's operators that files are written for.
const OPSET: i64 = 17;
/// The version of the file's form, that of ONNX 1.12, which brought these operators.
const IR: i64 = 8;

/// The file of these operators, before it is bytes.
pub(super) fn model(config: &ModelConfig, network: Network, settings: OnnxConfig) -> Model {
    let (input, classes) = (config.input, config.labels.len());
    let images = match (settings.preprocessing, input.channels) {
        (false, channels) => ValueInfo::rows("images", FLOAT, &[channels, input.height, input.width]),
        (true, 1) => ValueInfo::rows("images", UINT8, &[input.height, input.width]),
        (true, _) => ValueInfo::rows("images", UINT8, &[input.height, input.width, 3]),
    };
    let graph = Graph {
        node: network.nodes,
        name: config.architecture.name().to_owned(),
        initializer: network.tensors,
        input: vec![images],
        output: vec![ValueInfo::rows("probabilities", FLOAT, &[classes])],
    };
    let entry = |key: &str, value: String| Entry { key: key.to_owned(), value };
    let preprocessing = config.preprocessing;
    Model {
        ir_version: IR,
        producer_name: "fer".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            entry("labels", serde_json::to_string(&config.labels).unwrap_or_default()),
            entry("preprocessing", serde_json::to_string(&preprocessing).unwrap_or_default()),
            entry("preprocessed_inside", settings.preprocessing.to_string()),
        ],
    }
}
