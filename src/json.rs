//! Faces as they are written in JSON.

use fer_detect::Face;
use fer_model::Prediction;
use serde::{Serialize, Serializer};

use crate::{FaceExpression, TrackedFace};

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    r#box: [f64; 4],
    score: f32,
    #[serde(flatten)]
    prediction: &'a Prediction,
}

impl<'a> Written<'a> {
    fn of(id: Option<u64>, face: &Face, prediction: &'a Prediction) -> Self {
        let b = face.bounds;
        let tenth = |v: f32| (f64::from(v) * 10.0).round() / 10.0;
        Self { id, r#box: [b.x, b.y, b.width, b.height].map(tenth), score: face.score, prediction }
    }
}

impl Serialize for FaceExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::of(None, &self.face, &self.prediction).serialize(serializer)
    }
}

impl Serialize for TrackedFace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::of(Some(self.id), &self.face, &self.prediction).serialize(serializer)
    }
}
