//! The generations of Keras.

use serde::{Deserialize, Serialize};

/// Which Keras to follow where its generations differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// `tf.keras` of TensorFlow 2.1 and 2.2, which the notebook ran on.
    #[default]
    #[serde(alias = "notebook")]
    Keras2,
    /// Keras 3.
    Keras3,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notebook_is_an_old_name_of_keras2() {
        assert_eq!(serde_json::from_str::<Generation>(r#""notebook""#).unwrap(), Generation::Keras2);
        assert_eq!(serde_json::to_string(&Generation::Keras2).unwrap(), r#""keras2""#);
    }
}
