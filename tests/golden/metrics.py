"""Metrics as scikit-learn computes them, and the expected calibration error from its definition.

scikit-learn==1.9.1. Writes metrics.json beside this file:
    python tests/golden/metrics.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
from sklearn import metrics

warnings.simplefilter("ignore")
rng = np.random.RandomState(7)


def hard_case(name, truth, predicted, classes, labels=None, names=None, digits=2):
    """`labels` as classification_report takes them; `names[c]` is the name of class c."""
    truth, predicted = [int(v) for v in truth], [int(v) for v in predicted]
    shown = labels if labels is not None else sorted(set(truth) | set(predicted))
    target_names = [names[c] for c in shown] if names else None
    averages = {
        average: list(
            metrics.precision_recall_fscore_support(truth, predicted, labels=labels, average=average)[:3]
        )
        for average in ("micro", "macro", "weighted")
    }
    rows = metrics.precision_recall_fscore_support(truth, predicted, labels=labels, average=None)
    return {
        "case": name,
        "truth": truth,
        "predicted": predicted,
        "classes": classes,
        "labels": labels,
        "names": names,
        "digits": digits,
        "matrix": metrics.confusion_matrix(truth, predicted, labels=range(classes)).tolist(),
        "by_true_class": metrics.confusion_matrix(
            truth, predicted, labels=range(classes), normalize="true"
        ).tolist(),
        "accuracy": metrics.accuracy_score(truth, predicted),
        "rows": np.transpose(rows).tolist(),
        "averages": averages,
        "report": metrics.classification_report(
            truth, predicted, labels=labels, target_names=target_names, digits=digits
        ),
    }


EMOTIONS = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
LONG = ["happy", "a name much longer than any column", "émotion très longue"]
contract_truth = [0] * 5 + [1] * 4 + [2] * 6
contract_predicted = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 1]


def noisy(truth, classes, right=0.6):
    return np.where(rng.rand(len(truth)) < right, truth, rng.randint(0, classes, len(truth)))


seven = rng.randint(0, 7, 400)
unbalanced = rng.choice(7, 300, p=[0.4, 0.01, 0.1, 0.25, 0.15, 0.04, 0.05])
hard = [
    hard_case("the contract's", contract_truth, contract_predicted, 3),
    hard_case("four digits", contract_truth, contract_predicted, 3, digits=4),
    hard_case("no digits", contract_truth, contract_predicted, 3, digits=0),
    hard_case("fourteen digits widen the names' column", contract_truth, contract_predicted, 3, digits=14),
    hard_case("names", contract_truth, contract_predicted, 3, names=["happy", "sad", "neutral"]),
    hard_case("long names", contract_truth, contract_predicted, 3, names=LONG, digits=3),
    hard_case("seven classes", seven, noisy(seven, 7), 7, names=EMOTIONS),
    hard_case("unbalanced", unbalanced, noisy(unbalanced, 7), 7, names=EMOTIONS, digits=5),
    hard_case("a class never predicted", [0, 1, 2, 2, 1], [0, 0, 2, 2, 0], 3),
    hard_case("a class without true samples", [0, 1, 1, 0], [0, 1, 2, 2], 3),
    hard_case("a class that does not occur", [0, 2, 2, 0], [0, 2, 0, 0], 4),
    hard_case("all wrong", [0, 0, 1, 1], [1, 1, 0, 0], 2),
    hard_case("all right", [0, 1, 1, 2], [0, 1, 1, 2], 3),
    hard_case("one sample", [3], [3], 7),
    hard_case("one wrong sample", [0], [1], 2),
    hard_case("a subset has a micro average", contract_truth, contract_predicted, 3, labels=[0, 2]),
    hard_case("a subset in another order", seven, noisy(seven, 7), 7, labels=[6, 3, 4], names=EMOTIONS),
    hard_case("labels that do not occur", [0, 1, 1], [0, 1, 0], 4, labels=[0, 1, 2, 3]),
    hard_case("all labels listed backwards", contract_truth, contract_predicted, 3, labels=[2, 1, 0]),
    hard_case("a subset without true samples", [0, 0, 1], [0, 2, 2], 3, labels=[2]),
    hard_case("a subset never met", [0, 0, 1], [0, 1, 1], 3, labels=[2]),
]
# 1/8, 3/8, 5/8 and 7/8 lie halfway between two printed numbers.
for right in (1, 3, 5, 7):
    truth = [0] * 8 + [1] * 8
    hard.append(hard_case(f"halves {right}", truth, [0] * right + [1] * (8 - right) + [1] * 8, 2))


def calibration_error(truth, probabilities, bins):
    """Guo et al. 2017, equations 2-4: bin m holds the confidences in ((m-1)/M, m/M]."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    total = 0.0
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return total / len(truth)


def soft_case(name, truth, probabilities):
    truth = np.asarray(truth)
    probabilities = np.asarray(probabilities, dtype=np.float32)
    classes = probabilities.shape[1]
    labels = list(range(classes))
    case = {
        "case": name,
        "truth": truth.tolist(),
        "probabilities": [[float(v) for v in row] for row in probabilities],
        "predicted": probabilities.argmax(axis=1).tolist(),
        "log_loss": metrics.log_loss(truth, probabilities, labels=labels),
        "calibration_error": {str(m): calibration_error(truth, probabilities, m) for m in (1, 10, 15)},
    }
    if classes > 2:
        case["top_k"] = [
            metrics.top_k_accuracy_score(truth, probabilities, k=k, labels=labels) for k in labels[1:]
        ]
        case["roc_auc"] = {
            average or "classes": np.asarray(
                metrics.roc_auc_score(
                    truth, probabilities, multi_class="ovr", average=average, labels=labels
                )
            ).tolist()
            for average in (None, "macro", "weighted")
        }
    else:
        area = metrics.roc_auc_score(truth, probabilities[:, 1])
        case["top_k"] = [metrics.accuracy_score(truth, probabilities.argmax(axis=1))]
        case["roc_auc"] = {"classes": [area, area], "macro": area, "weighted": area}
    case["curves"] = []
    # The long cases would make the file long.
    for c in labels if len(truth) <= 60 else []:
        fpr, tpr, thresholds = metrics.roc_curve(truth == c, probabilities[:, c], drop_intermediate=False)
        precision, recall, least = metrics.precision_recall_curve(truth == c, probabilities[:, c])
        case["curves"].append(
            {
                "roc": [fpr.tolist(), tpr.tolist(), thresholds[1:].tolist()],
                "precision_recall": [precision.tolist(), recall.tolist(), least.tolist()],
            }
        )
    return case


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def drawn(samples, classes, sharpness, occurring=None):
    truth = rng.randint(0, occurring or classes, samples)
    logits = rng.normal(size=(samples, classes)) + sharpness * np.eye(classes)[truth]
    return truth, softmax(logits)


ties_truth, ties = drawn(60, 3, 1.0)
ties = np.round(ties * 8) / 8
ties[:, 2] = 1 - ties[:, 0] - ties[:, 1]
ties = np.clip(ties, 0, 1)
ties /= ties.sum(axis=1, keepdims=True)
certain = np.eye(3)[[0, 1, 2, 1, 0, 2]]
soft = [
    soft_case("three classes", *drawn(120, 3, 1.5)),
    soft_case("seven classes", *drawn(100, 7, 1.0)),
    soft_case("two classes", *drawn(50, 2, 1.0)),
    soft_case("many equal scores", ties_truth, ties),
    soft_case("certain, sometimes wrongly", [0, 1, 2, 2, 0, 1], certain),
    soft_case("by chance", np.arange(12) % 4, np.full((12, 4), 0.25)),
    soft_case("a class that does not occur", *drawn(40, 4, 1.0, occurring=3)),
]


def without_nan(value):
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    if isinstance(value, float) and np.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


golden = without_nan({"hard": hard, "soft": soft})
text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")
