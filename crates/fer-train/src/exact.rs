//! Numbers in JSON that come back to the bit: JSON has no NaN and no infinities, so they are written as
//! strings, each the shortest decimal that is the number.

use std::collections::BTreeMap;

use fer_metrics::EpochLog;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// For `#[serde(with = "exact")]` on an `f64`.
pub(crate) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// The number of such a string.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

#[derive(Serialize, Deserialize)]
struct Exact(#[serde(with = "self")] f64);

/// For `#[serde(with = "exact::option")]` on an `Option<f64>`.
mod option {
    use super::*;

    pub fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        number.map(Exact).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Exact>::deserialize(deserializer)?.map(|exact| exact.0))
    }
}

/// For `#[serde(with = "exact::map")]` on numbers by name.
mod map {
    use super::*;

    pub fn serialize<S: Serializer>(
        numbers: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(numbers.iter().map(|(name, &number)| (name, Exact(number))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let numbers = BTreeMap::<String, Exact>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|(name, number)| (name, number.0)).collect())
    }
}

/// An [`EpochLog`] that survives JSON to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExactLog(#[serde(with = "Fields")] pub(crate) EpochLog);

#[derive(Serialize, Deserialize)]
#[serde(remote = "EpochLog")]
struct Fields {
    epoch: usize,
    #[serde(with = "self")]
    loss: f64,
    #[serde(with = "self")]
    accuracy: f64,
    #[serde(with = "option")]
    val_loss: Option<f64>,
    #[serde(with = "option")]
    val_accuracy: Option<f64>,
    #[serde(with = "self")]
    learning_rate: f64,
    #[serde(with = "self")]
    seconds: f64,
    #[serde(with = "map")]
    metrics: BTreeMap<String, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_double_survives_json() {
        for number in [0.1 + 0.2, f64::MIN_POSITIVE / 3.0, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300] {
            let json = serde_json::to_string(&Exact(number)).unwrap();
            assert_eq!(serde_json::from_str::<Exact>(&json).unwrap().0.to_bits(), number.to_bits());
        }
        let json = serde_json::to_string(&Exact(f64::NAN)).unwrap();
        assert!(serde_json::from_str::<Exact>(&json).unwrap().0.is_nan());
    }

    #[test]
    fn a_log_survives_json_with_its_metrics() {
        let log = EpochLog {
            loss: f64::INFINITY,
            metrics: [("f1".into(), 0.1 + 0.2)].into(),
            ..Default::default()
        };
        let json = serde_json::to_string(&ExactLog(log.clone())).unwrap();
        assert_eq!(serde_json::from_str::<ExactLog>(&json).unwrap().0, log);
    }
}
