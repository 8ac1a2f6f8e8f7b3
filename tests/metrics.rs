//! Metrics equal to scikit-learn's: tests/golden/metrics.py made the numbers and the reports.

use fer_metrics::{
    ConfusionMatrix, accuracy, calibration_error, log_loss, precision_recall_curve, predicted_labels,
    roc_auc, roc_curve, top_k_accuracy,
};
use ndarray::Array2;
use serde_json::Value;

fn golden(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.json");
    let text = std::fs::read_to_string(path).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    golden[kind].as_array().unwrap().clone()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn array<T: serde::de::DeserializeOwned + Clone>(value: &Value) -> Array2<T> {
    let rows: Vec<Vec<T>> = read(value);
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(shape, rows.concat()).unwrap()
}

fn assert_close(name: &str, found: f64, golden: &Value, tolerance: f64) {
    // NaN is null in the golden file.
    match golden.as_f64() {
        Some(golden) => assert!((found - golden).abs() <= tolerance, "{name}: {found}, golden {golden}"),
        None => assert!(found.is_nan(), "{name}: {found}, golden NaN"),
    }
}

#[test]
fn reports_are_those_of_scikit_learn_to_the_letter() {
    for case in golden("hard") {
        let name = case["case"].as_str().unwrap();
        let (truth, predicted): (Vec<usize>, Vec<usize>) = (read(&case["truth"]), read(&case["predicted"]));
        let matrix = ConfusionMatrix::new(&truth, &predicted, read(&case["classes"])).unwrap();
        let mut report = match read::<Option<Vec<usize>>>(&case["labels"]) {
            Some(labels) => matrix.report_of(&labels).unwrap(),
            None => matrix.report(),
        };
        if let Some(names) = read::<Option<Vec<String>>>(&case["names"]) {
            report = report.named(&names).unwrap();
        }
        let digits: usize = read(&case["digits"]);
        assert_eq!(format!("{report:.digits$}"), case["report"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn matrices_and_scores_equal_those_of_scikit_learn() {
    for case in golden("hard") {
        let name = case["case"].as_str().unwrap();
        let (truth, predicted): (Vec<usize>, Vec<usize>) = (read(&case["truth"]), read(&case["predicted"]));
        let matrix = ConfusionMatrix::new(&truth, &predicted, read(&case["classes"])).unwrap();
        assert_eq!(matrix.counts(), array::<u64>(&case["matrix"]), "{name}");
        let difference = matrix.by_true_class() - array::<f64>(&case["by_true_class"]);
        assert!(difference.iter().all(|value| value.abs() <= 1e-15), "{name}");
        assert_close(name, matrix.accuracy(), &case["accuracy"], 1e-15);
        assert_close(name, accuracy(&truth, &predicted).unwrap(), &case["accuracy"], 1e-15);

        let report = match read::<Option<Vec<usize>>>(&case["labels"]) {
            Some(labels) => matrix.report_of(&labels).unwrap(),
            None => matrix.report(),
        };
        let averages = &case["averages"];
        let rows = report.classes.iter().map(|row| row.scores).zip(case["rows"].as_array().unwrap());
        let averages = [
            (report.micro_average, &averages["micro"]),
            (report.macro_average, &averages["macro"]),
            (report.weighted_average, &averages["weighted"]),
        ];
        for (scores, golden) in rows.chain(averages) {
            for (column, found) in [scores.precision, scores.recall, scores.f1].into_iter().enumerate() {
                assert_close(name, found, &golden[column], 1e-15);
            }
            if let Some(support) = golden.get(3) {
                assert_eq!(scores.support as f64, support.as_f64().unwrap(), "{name}");
            }
        }
    }
}

#[test]
fn metrics_of_probabilities_equal_those_of_scikit_learn() {
    for case in golden("soft") {
        let name = case["case"].as_str().unwrap();
        let truth: Vec<usize> = read(&case["truth"]);
        let probabilities = array::<f32>(&case["probabilities"]);
        let scores = probabilities.view();
        assert_eq!(predicted_labels(scores).unwrap(), read::<Vec<usize>>(&case["predicted"]), "{name}");

        // scikit-learn takes the logarithms of float32 in float32.
        assert_close(name, log_loss(&truth, scores).unwrap(), &case["log_loss"], 2e-6);

        let areas = roc_auc(&truth, scores).unwrap();
        for (found, golden) in areas.classes.iter().zip(case["roc_auc"]["classes"].as_array().unwrap()) {
            assert_close(name, *found, golden, 1e-12);
        }
        assert_close(name, areas.macro_average, &case["roc_auc"]["macro"], 1e-12);
        assert_close(name, areas.weighted_average, &case["roc_auc"]["weighted"], 1e-12);

        for (bins, golden) in case["calibration_error"].as_object().unwrap() {
            let found = calibration_error(&truth, scores, bins.parse().unwrap()).unwrap();
            assert_close(name, found, golden, 1e-12);
        }
        for (k, golden) in (1..).zip(case["top_k"].as_array().unwrap()) {
            assert_close(name, top_k_accuracy(&truth, scores, k).unwrap(), golden, 1e-15);
        }
    }
}

#[test]
fn curves_equal_those_of_scikit_learn() {
    for case in golden("soft") {
        let name = case["case"].as_str().unwrap();
        let (truth, scores): (Vec<usize>, Array2<f32>) =
            (read(&case["truth"]), array(&case["probabilities"]));
        for (class, golden) in case["curves"].as_array().unwrap().iter().enumerate() {
            let name = format!("{name}, class {class}");
            let equal = |found: &[f64], golden: &Value| {
                let golden = golden.as_array().unwrap();
                assert_eq!(found.len(), golden.len(), "{name}");
                for (found, golden) in found.iter().zip(golden) {
                    assert_close(&name, *found, golden, 1e-15);
                }
            };
            let f64s = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
            let roc = roc_curve(&truth, scores.view(), class).unwrap();
            equal(&roc.false_positive_rate, &golden["roc"][0]);
            equal(&roc.true_positive_rate, &golden["roc"][1]);
            assert_eq!(roc.thresholds[0], f32::INFINITY);
            equal(&f64s(&roc.thresholds[1..]), &golden["roc"][2]);
            let area = roc_auc(&truth, scores.view()).unwrap().classes[class];
            assert!(area.is_nan() && roc.area.is_nan() || (area - roc.area).abs() < 1e-12, "{name}");
            let curve = precision_recall_curve(&truth, scores.view(), class).unwrap();
            equal(&curve.precision, &golden["precision_recall"][0]);
            equal(&curve.recall, &golden["precision_recall"][1]);
            equal(&f64s(&curve.thresholds), &golden["precision_recall"][2]);
        }
    }
}
