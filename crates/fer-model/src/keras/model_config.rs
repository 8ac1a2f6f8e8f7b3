//! A model's layers and what each reads, from the JSON in which Keras describes it.

use std::collections::HashMap;

use serde_json::Value;

use crate::{Error, Input, Result};

/// A layer of the description.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub config: &'a Value,
    /// The layers that it reads; none for an input.
    pub inputs: Vec<&'a str>,
}

/// A model's layers, each after those that it reads; the last is the output.
pub(super) struct Model<'a> {
    pub nodes: Vec<Node<'a>>,
    pub input: Input,
    /// The class and name of every layer, in the description's order.
    pub listed: Vec<(&'a str, &'a str)>,
}

/// Reads a description; `file` stands for its file in errors.
pub(super) fn parse<'a>(model: &'a Value, file: &str) -> Result<Model<'a>> {
    let wrong = |message: &str| Error::keras(file, format!("the model's description: {message}"));
    let config = &model["config"];
    let class = model["class_name"].as_str().unwrap_or("Sequential");
    // The oldest Sequential models are a list of layers alone.
    let layers = config["layers"].as_array().or(config.as_array()).ok_or_else(|| wrong("no layers"))?;
    let listed: Vec<(&str, &str)> = layers.iter().map(node).map(|node| (node.class, node.name)).collect();
    if let Some((class, name)) =
        listed.iter().find(|(class, name)| [class, name].iter().any(|text| text.contains(char::is_control)))
    {
        return Err(wrong(&format!(
            "a layer '{name}' of class {class}; allowed: names without control characters"
        )));
    }
    if let Some(layer) = layers.iter().find(|layer| !is_of_keras(layer)) {
        let node = node(layer);
        let found =
            format!("class {} of {}", node.class, layer["module"].as_str().unwrap_or("another package"));
        return Err(Error::keras_layer(file, node.name, found, "a layer of Keras"));
    }
    let mut nodes = match class {
        "Sequential" => chain(layers),
        "Model" | "Functional" => {
            let output = only(&config["output_layers"]).ok_or_else(|| wrong("not one output"))?;
            ordered(graph(layers, file)?, output, file)?
        }
        other => return Err(wrong(&format!("class {other}; allowed: Sequential and Functional"))),
    };
    let shapes =
        nodes.iter().flat_map(|node| ["batch_shape", "batch_input_shape"].map(|key| &node.config[key]));
    let Some(input) = shapes.chain([&config["build_input_shape"]]).find_map(image_shape) else {
        return Err(wrong("no input shape (batch, height, width, channels)"));
    };
    for (field, size) in [("height", input.height), ("width", input.width), ("channels", input.channels)] {
        crate::limits::size(field, size, 1).map_err(|e| Error::keras(file, e))?;
    }
    if nodes.iter().filter(|node| node.inputs.is_empty()).count() > 1 {
        return Err(wrong("more than one input"));
    }
    // What reads nothing is the input, whether it is a layer of its own or not.
    for node in &mut nodes {
        if node.inputs.is_empty() && node.class != "InputLayer" {
            node.inputs.push("images");
        }
    }
    Ok(Model { nodes, input, listed })
}

fn node(layer: &Value) -> Node<'_> {
    let name = layer["config"]["name"].as_str().or(layer["name"].as_str()).unwrap_or_default();
    Node {
        name,
        class: layer["class_name"].as_str().unwrap_or("of no name"),
        config: &layer["config"],
        inputs: Vec::new(),
    }
}

/// Whether a layer is one of Keras' own, and not somebody's class of the same name. Keras 2 wrote no modules.
fn is_of_keras(layer: &Value) -> bool {
    let of_keras = |module: &str| {
        ["keras", "tf_keras", "tensorflow"].contains(&module.split('.').next().unwrap_or(module))
    };
    let registered = layer["registered_name"].as_str().unwrap_or_default();
    layer["module"].as_str().is_none_or(of_keras) && !registered.contains('>')
}

/// Layers that each read the one before.
fn chain(layers: &[Value]) -> Vec<Node<'_>> {
    let mut nodes: Vec<Node> = layers.iter().map(node).collect();
    for i in 1..nodes.len() {
        nodes[i].inputs = vec![nodes[i - 1].name];
    }
    nodes
}

/// Layers that say what they read.
fn graph<'a>(layers: &'a [Value], file: &str) -> Result<Vec<Node<'a>>> {
    let with_inputs = |layer: &'a Value| {
        let mut node = node(layer);
        match layer["inbound_nodes"].as_array().map(Vec::as_slice) {
            None | Some([]) => {}
            Some([call]) if trains(call) => {
                let expected = "a layer that does what it does after training";
                return Err(Error::keras_layer(file, node.name, "been called with training=True", expected));
            }
            Some([call]) => histories(call, &mut node.inputs),
            Some(calls) => {
                let found = format!("been used {} times", calls.len());
                return Err(Error::keras_layer(file, node.name, found, "a layer that is used once"));
            }
        }
        Ok(node)
    };
    layers.iter().map(with_inputs).collect()
}

/// The layers whose outputs a call was given, in order: `["name", 0, 0, {}]` in Keras 2, an object with
/// `keras_history: ["name", 0, 0]` in Keras 3.
fn histories<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => match &items[..] {
            [Value::String(name), Value::Number(_), Value::Number(_), ..] => into.push(name),
            items => items.iter().for_each(|item| histories(item, into)),
        },
        Value::Object(fields) => fields.values().for_each(|field| histories(field, into)),
        _ => {}
    }
}

/// Whether a call has the argument `training=True`: `["name", 0, 0, {"training": true}]` in Keras 2, `kwargs` in Keras 3.
fn trains(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(trains),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, field)| (key == "training" && field.as_bool() == Some(true)) || trains(field)),
        _ => false,
    }
}

/// The only layer of a list of layers.
fn only(list: &Value) -> Option<&str> {
    let mut names = Vec::new();
    histories(list, &mut names);
    match names[..] {
        [name] => Some(name),
        _ => None,
    }
}

/// The layers that the output needs, each after those that it reads.
fn ordered<'a>(nodes: Vec<Node<'a>>, output: &'a str, file: &str) -> Result<Vec<Node<'a>>> {
    let all: HashMap<&str, Node> = nodes.into_iter().map(|node| (node.name, node)).collect();
    let (mut done, mut order) = (HashMap::new(), Vec::new());
    // Names to come, each once before its inputs and once after them.
    let mut waiting = vec![(output, false)];
    while let Some((name, inputs_are_done)) = waiting.pop() {
        let Some(node) = all.get(name) else {
            return Err(Error::keras(
                file,
                format!("the model's description: no layer '{name}', which is read"),
            ));
        };
        if inputs_are_done {
            done.insert(name, true);
            order.push(node.clone());
        } else if let Some(is_done) = done.get(name) {
            if !is_done {
                return Err(Error::keras_layer(file, name, "itself among what it reads", "layers before it"));
            }
        } else {
            done.insert(name, false);
            waiting.push((name, true));
            waiting.extend(node.inputs.iter().rev().map(|&input| (input, false)));
        }
    }
    Ok(order)
}

/// The image that a batch's shape is of.
fn image_shape(batch: &Value) -> Option<Input> {
    let size = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok());
    match &batch.as_array()?[..] {
        [_, height, width, channels] => {
            Some(Input { height: size(height)?, width: size(width)?, channels: size(channels)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(model: &Value) -> String {
        parse(model, "m.h5").map(|_| ()).unwrap_err().to_string()
    }

    /// Layers of a graph: name and what each reads, as Keras 2 writes it.
    fn graph_of(layers: &[(&str, &[&str])]) -> Value {
        let layer = |(name, inputs): &(&str, &[&str])| {
            let class = if inputs.is_empty() { "InputLayer" } else { "Add" };
            let inputs: Vec<Value> = inputs.iter().map(|input| json!([input, 0, 0, {}])).collect();
            let calls = if inputs.is_empty() { json!([]) } else { json!([inputs]) };
            let config = json!({"name": name, "batch_input_shape": [null, 4, 5, 3]});
            json!({"class_name": class, "name": name, "config": config, "inbound_nodes": calls})
        };
        let last = layers.last().unwrap().0;
        json!({"class_name": "Functional", "config": {
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
            "output_layers": [[last, 0, 0]],
        }})
    }

    #[test]
    fn a_layer_comes_after_what_it_reads_and_only_if_it_is_needed() {
        let model = graph_of(&[
            ("c", &["a", "b"]),
            ("in", &[]),
            ("b", &["a"]),
            ("unused", &["in"]),
            ("a", &["in"]),
            ("d", &["c", "in"]),
        ]);
        let parsed = parse(&model, "m.h5").unwrap();
        let names: Vec<&str> = parsed.nodes.iter().map(|node| node.name).collect();
        assert_eq!(names, ["in", "a", "b", "c", "d"]);
        assert_eq!(parsed.nodes[3].inputs, ["a", "b"]);
        assert_eq!(parsed.input, Input { channels: 3, height: 4, width: 5 });
        assert_eq!(parsed.listed.len(), 6);
    }

    #[test]
    fn what_is_no_network_of_one_image_and_one_output_is_refused() {
        let circle = graph_of(&[("in", &[]), ("a", &["b", "in"]), ("b", &["a"])]);
        assert!(said(&circle).contains("has itself among what it reads"), "{}", said(&circle));
        let lost = graph_of(&[("in", &[]), ("a", &["in", "z"])]);
        assert_eq!(said(&lost), "m.h5: the model's description: no layer 'z', which is read");
        let two_inputs = graph_of(&[("in", &[]), ("also", &[]), ("a", &["in", "also"])]);
        assert_eq!(said(&two_inputs), "m.h5: the model's description: more than one input");
        let mut two_outputs = graph_of(&[("in", &[]), ("a", &["in"])]);
        two_outputs["config"]["output_layers"] = json!([["a", 0, 0], ["in", 0, 0]]);
        assert_eq!(said(&two_outputs), "m.h5: the model's description: not one output");
        let mut shared = graph_of(&[("in", &[]), ("a", &["in"])]);
        shared["config"]["layers"][1]["inbound_nodes"] = json!([[["in", 0, 0, {}]], [["in", 0, 0, {}]]]);
        assert_eq!(
            said(&shared),
            "m.h5: layer 'a' has been used 2 times, expected a layer that is used once"
        );
        assert!(
            said(&json!({"class_name": "MyModel", "config": {"layers": []}}))
                .contains("class MyModel; allowed")
        );
        assert!(said(&json!([])).contains("no layers"));
        let without_shape = json!({"config": [{"class_name": "Flatten", "config": {"name": "f"}}]});
        assert!(said(&without_shape).contains("no input shape"));
    }
}
