//! Faces followed from picture to picture of a stream.

use fer_detect::{Face, Rect};
use fer_model::Prediction;

use crate::FaceExpression;

/// How faces are followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerConfig {
    /// Seconds over which probabilities are smoothed, the time constant of an exponential mean; 0 leaves them as they are.
    pub smooth: f64,
    /// Seconds that a face may be unseen and still be the same.
    pub patience: f64,
    /// The least overlap (intersection over union) of a face with where it is expected.
    pub overlap: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { smooth: 0.3, patience: 0.5, overlap: 0.2 }
    }
}

/// A face of a stream.
///
/// It is written as a [`FaceExpression`] is, after its `"id"`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedFace {
    /// The same number for the same face in all pictures, from 0.
    pub id: u64,
    /// Where it is.
    pub face: Face,
    /// What it shows, smoothed over time.
    pub prediction: Prediction,
}

/// Follows faces by their overlap with where each is expected to have moved.
#[derive(Clone, Debug)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<Track>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Track {
    id: u64,
    bounds: Rect,
    /// Pixels a second, right and down.
    velocity: (f32, f32),
    /// Seconds.
    seen: f64,
    probabilities: Vec<f32>,
}

impl Tracker {
    /// A tracker that has seen nothing.
    pub fn new(config: TrackerConfig) -> Self {
        Self { config, tracks: Vec::new(), next: 0 }
    }

    /// Goes on from faces that were seen at `time` as they were, with ids from `next` for new ones.
    pub fn resume(&mut self, time: f64, faces: &[TrackedFace], next: u64) {
        self.next = next;
        self.tracks =
            faces.iter().map(|found| Track::new(found.id, time, &found.face, &found.prediction)).collect();
    }

    /// The faces of the next picture, at `time` seconds, in their order, with their numbers and smoothed predictions.
    pub fn update(&mut self, time: f64, found: Vec<FaceExpression>) -> Vec<TrackedFace> {
        let Self { config, tracks, next } = self;
        tracks.retain(|track| time - track.seen <= config.patience);
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (t, track) in tracks.iter().enumerate() {
            let expected = track.expected(time);
            pairs.extend(found.iter().enumerate().map(|(f, found)| (expected.iou(found.face.bounds), t, f)));
        }
        pairs.retain(|pair| pair.0 >= config.overlap);
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut taken, mut track_of) = (vec![false; tracks.len()], vec![None; found.len()]);
        for (_, t, f) in pairs {
            if !taken[t] && track_of[f].is_none() {
                taken[t] = true;
                track_of[f] = Some(t);
            }
        }
        let mut follow = |(found, track): (FaceExpression, Option<usize>)| {
            let FaceExpression { face, mut prediction } = found;
            let id = match track {
                Some(t) => {
                    tracks[t].follow(time, &face, &mut prediction, config.smooth);
                    tracks[t].id
                }
                None => {
                    *next += 1;
                    tracks.push(Track::new(*next - 1, time, &face, &prediction));
                    *next - 1
                }
            };
            TrackedFace { id, face, prediction }
        };
        found.into_iter().zip(track_of).map(&mut follow).collect()
    }
}

impl Track {
    fn new(id: u64, seen: f64, face: &Face, prediction: &Prediction) -> Self {
        let probabilities = prediction.probabilities.iter().map(|&(_, p)| p).collect();
        Self { id, bounds: face.bounds, velocity: (0.0, 0.0), seen, probabilities }
    }

    /// Where the face is at `time` if it goes on moving.
    fn expected(&self, time: f64) -> Rect {
        let dt = (time - self.seen) as f32;
        Rect {
            x: self.bounds.x + self.velocity.0 * dt,
            y: self.bounds.y + self.velocity.1 * dt,
            ..self.bounds
        }
    }

    fn follow(&mut self, time: f64, face: &Face, prediction: &mut Prediction, smooth: f64) {
        let dt = time - self.seen;
        if dt > 0.0 {
            let (from, to) = (self.bounds.center(), face.bounds.center());
            let mean = |old: f32, moved: f32| (old + moved / dt as f32) / 2.0;
            self.velocity = (mean(self.velocity.0, to.x - from.x), mean(self.velocity.1, to.y - from.y));
        }
        let weight = if smooth > 0.0 { (1.0 - (-dt / smooth).exp()) as f32 } else { 1.0 };
        let mix = |held: f32, new: f32| if weight == 1.0 { new } else { held + (new - held) * weight };
        for (held, (_, p)) in self.probabilities.iter_mut().zip(&mut prediction.probabilities) {
            *held = mix(*held, *p);
            *p = *held;
        }
        let best = prediction.probabilities.iter().reduce(|best, p| if p.1 > best.1 { p } else { best });
        if let Some((label, _)) = best {
            prediction.label.clone_from(label);
        }
        self.bounds = face.bounds;
        self.seen = time;
    }
}

#[cfg(test)]
mod tests {
    use fer_detect::Point;

    use super::*;

    fn seen(x: f32, happy: f32) -> FaceExpression {
        let face = Face {
            bounds: Rect { x, y: 10.0, width: 40.0, height: 50.0 },
            score: 0.9,
            landmarks: [Point::default(); 5],
            eyes: None,
        };
        let probabilities = vec![("happy".to_owned(), happy), ("sad".to_owned(), 1.0 - happy)];
        let label = if happy > 0.5 { "happy" } else { "sad" }.to_owned();
        FaceExpression { face, prediction: Prediction { label, probabilities } }
    }

    #[test]
    fn two_faces_that_pass_keep_their_numbers() {
        let mut tracker = Tracker::new(TrackerConfig::default());
        for frame in 0..30 {
            let x = frame as f32 * 10.0;
            // Listed in turn first to last and last to first.
            let mut faces = vec![seen(x, 1.0), seen(305.0 - x, 0.0)];
            if frame % 2 == 1 {
                faces.reverse();
            }
            for tracked in tracker.update(f64::from(frame) / 30.0, faces) {
                assert_eq!(tracked.id, u64::from(tracked.face.bounds.x != x), "frame {frame}");
            }
        }
    }

    #[test]
    fn a_face_that_was_away_too_long_is_another() {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let id = |tracker: &mut Tracker, time| tracker.update(time, vec![seen(0.0, 1.0)])[0].id;
        assert_eq!([id(&mut tracker, 0.0), id(&mut tracker, 0.4), id(&mut tracker, 1.0)], [0, 0, 1]);
    }

    #[test]
    fn probabilities_follow_slowly_and_stay_probabilities() {
        let mut tracker = Tracker::new(TrackerConfig { smooth: 0.5, ..Default::default() });
        tracker.update(0.0, vec![seen(0.0, 1.0)]);
        let after = tracker.update(0.5, vec![seen(0.0, 0.0)]);
        let [(_, happy), (_, sad)] = &after[0].prediction.probabilities[..] else { panic!("two labels") };
        assert!((happy - (-1.0_f32).exp()).abs() < 1e-6 && (happy + sad - 1.0).abs() < 1e-6);
        assert_eq!(after[0].prediction.label, "sad");
        let mut raw = Tracker::new(TrackerConfig { smooth: 0.0, ..Default::default() });
        raw.update(0.0, vec![seen(0.0, 1.0)]);
        assert_eq!(raw.update(0.1, vec![seen(0.0, 0.2)])[0].prediction, seen(0.0, 0.2).prediction);
    }
}
