//! Faces that the project draws itself, to train on where no real faces are at hand.
//!
//! A face is painted from back to front with one kind of shape, the [`Blob`]. The label decides its
//! [`Expression`] and nothing else. No arithmetic but `+ - * /` and square roots, which IEEE 754 rounds one
//! way, so the bytes are the same on every machine.

use std::ops::Range;

use fer_rand::{Philox, Purpose, Stream};
use rand::Rng;

const SIDE: usize = 48;
const HAPPY: u32 = 3;
const SAD: u32 = 4;
const NEUTRAL: u32 = 6;

/// Draws `n` faces: their pixels, (n, 48, 48), and labels: 3 happy, 4 sad, 6 neutral.
///
/// Face `i` depends on `seed` and `i` alone. The labels are in the proportions of FER2013.
pub(crate) fn draw(n: usize, seed: u64) -> (Vec<u8>, Vec<u32>) {
    let mut pixels = Vec::with_capacity(n * SIDE * SIDE);
    let mut labels = Vec::with_capacity(n);
    for i in 0..n {
        let stream = Stream { seed, purpose: Purpose::named("drawn"), epoch: 0, item: i as u32 };
        let mut rng = stream.rng();
        // The counts of FER2013.
        let label = match rng.below(8989 + 6077 + 6198) {
            0..8989 => HAPPY,
            8989..15066 => SAD,
            _ => NEUTRAL,
        };
        labels.push(label);
        pixels.extend(Face::sample(label, &mut rng).render(&mut rng));
    }
    (pixels, labels)
}

/// Uniform in [`low`, `high`).
fn uniform(rng: &mut Philox, low: f32, high: f32) -> f32 {
    low + (high - low) * ((rng.next_u32() >> 8) as f32 / 16_777_216.0)
}

/// Bell-shaped about 0 with standard deviation `deviation`, within 3.5 of them: the sum of four bytes.
fn bell(rng: &mut Philox, deviation: f32) -> f32 {
    let sum: u32 = rng.next_u32().to_le_bytes().into_iter().map(u32::from).sum();
    (sum as f32 - 510.0) / 147.8 * deviation
}

fn chance(rng: &mut Philox, probability: f32) -> bool {
    uniform(rng, 0.0, 1.0) < probability
}

/// What the label decides. Lengths are in half heights of the head, from its centre, x to the right and y
/// down; slopes are tangents.
struct Expression {
    /// How far the corners of the mouth stand above its middle.
    mouth_lift: f32,
    mouth_width: f32,
    /// Half the height of the opening; 0 for a closed mouth.
    mouth_open: f32,
    /// Half the height of the open eye.
    eye_open: f32,
    /// How far the outer corners of the eyes hang.
    eye_slope: f32,
    /// How far the inner ends of the brows are raised.
    brow_slope: f32,
    /// Depth of the folds from the nose to the corners of the mouth, and of the raised cheeks.
    cheeks: f32,
}

impl Expression {
    fn sample(label: u32, rng: &mut Philox) -> Self {
        match label {
            HAPPY => Self {
                mouth_lift: uniform(rng, 0.12, 0.28),
                mouth_width: uniform(rng, 0.32, 0.46),
                mouth_open: if chance(rng, 0.6) { uniform(rng, 0.04, 0.13) } else { 0.0 },
                eye_open: uniform(rng, 0.025, 0.08),
                eye_slope: bell(rng, 0.06),
                brow_slope: bell(rng, 0.08),
                cheeks: uniform(rng, 0.15, 0.55),
            },
            SAD => Self {
                mouth_lift: uniform(rng, -0.26, -0.11),
                mouth_width: uniform(rng, 0.26, 0.38),
                mouth_open: if chance(rng, 0.15) { uniform(rng, 0.02, 0.07) } else { 0.0 },
                eye_open: uniform(rng, 0.03, 0.09),
                eye_slope: uniform(rng, 0.0, 0.25),
                brow_slope: uniform(rng, 0.1, 0.5),
                cheeks: uniform(rng, 0.0, 0.25),
            },
            _ => Self {
                mouth_lift: uniform(rng, -0.04, 0.04),
                mouth_width: uniform(rng, 0.24, 0.4),
                mouth_open: if chance(rng, 0.2) { uniform(rng, 0.02, 0.08) } else { 0.0 },
                eye_open: uniform(rng, 0.05, 0.11),
                eye_slope: bell(rng, 0.06),
                brow_slope: bell(rng, 0.08),
                cheeks: uniform(rng, 0.0, 0.15),
            },
        }
    }
}

/// The measures of a face that several of its parts share; each part draws the others itself. In the units of
/// [`Expression`]; tones run from 0, black, to 1, white.
struct Face {
    expression: Expression,
    /// Tangent of the turn about the vertical axis.
    yaw: f32,
    head_width: f32,
    skin: f32,
    hair: f32,
    eye_spacing: f32,
    eye_height: f32,
    /// Change of brightness from the centre to the right and lower edge.
    light: [f32; 2],
}

impl Face {
    fn sample(label: u32, rng: &mut Philox) -> Self {
        Self {
            expression: Expression::sample(label, rng),
            yaw: bell(rng, 0.13),
            head_width: uniform(rng, 0.68, 0.86),
            skin: uniform(rng, 0.35, 0.85),
            hair: if chance(rng, 0.75) { uniform(rng, 0.02, 0.25) } else { uniform(rng, 0.25, 0.95) },
            eye_spacing: uniform(rng, 0.28, 0.37),
            eye_height: uniform(rng, -0.2, -0.08),
            light: [bell(rng, 0.25), bell(rng, 0.15)],
        }
    }

    fn render(&self, rng: &mut Philox) -> impl Iterator<Item = u8> {
        let mut canvas = Canvas::new(uniform(rng, 0.05, 0.95), Pose::sample(rng));
        self.paint_head(&mut canvas, rng);
        self.paint_eyes(&mut canvas, rng);
        self.paint_nose(&mut canvas, rng);
        self.paint_mouth(&mut canvas, rng);
        self.paint_covers(&mut canvas, rng);
        canvas.light(self.light, uniform(rng, 0.7, 1.15));
        canvas.blur(uniform(rng, 0.0, 0.22));
        canvas.noise(uniform(rng, 0.005, 0.045), rng);
        canvas.tones.into_iter().map(|tone| (tone.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    }

    /// An ellipse on the front of the head, moved and narrowed as the head turns.
    fn feature(&self, x: f32, y: f32, width: f32, height: f32) -> Blob {
        let cos = 1.0 / (1.0 + self.yaw * self.yaw).sqrt();
        let narrowing = (1.0 - 1.4 * self.yaw * x) * cos;
        Blob::ellipse((x + self.yaw * (0.7 - 0.7 * x * x)) * cos, y, width * narrowing, height)
    }

    fn paint_head(&self, canvas: &mut Canvas, rng: &mut Philox) {
        let Self { head_width: width, skin, hair, .. } = *self;
        let (x, y) = (uniform(rng, -1.2, 1.2), uniform(rng, -1.2, 1.2));
        let clutter = Blob::ellipse(x, y, uniform(rng, 0.2, 0.9), uniform(rng, 0.2, 1.5));
        canvas.paint(clutter, uniform(rng, 0.0, 1.0), 0.8);
        canvas.paint(Blob::ellipse(0.0, -0.2, width * 1.12, 1.0), hair, 1.0);
        canvas.paint(Blob::ellipse(0.0, 1.1, width * 0.6, 0.6), skin * 0.75, 1.0);
        for side in [-1.0, 1.0] {
            canvas.paint(Blob::ellipse(side * width, -0.02, 0.1, 0.2), skin * 0.85, 1.0);
        }
        let head = Blob { taper: uniform(rng, 0.0, 0.22), ..Blob::ellipse(0.0, 0.0, width, 1.0) };
        canvas.paint(head, skin * 0.82, 1.0);
        let bulge = Blob { soft: 0.6, ..self.feature(0.25 * self.light[0], 0.0, width * 0.6, 0.75) };
        canvas.paint(bulge, skin * 1.1, 0.9);
        let depth = uniform(rng, 0.0, 0.2);
        let hairline = Blob::ellipse(0.0, depth - 1.05, width * 0.98, depth + 0.12);
        canvas.paint(Blob { bend: 0.4, ..hairline }, hair, 1.0);
    }

    fn paint_eyes(&self, canvas: &mut Canvas, rng: &mut Philox) {
        let Self { skin, eye_height: y, .. } = *self;
        let Expression { eye_open: open, eye_slope, brow_slope, .. } = self.expression;
        let gaze = bell(rng, 0.03);
        let brow_y = y - uniform(rng, 0.18, 0.28);
        let (brow_height, bend) = (uniform(rng, 0.03, 0.055), uniform(rng, 0.0, 0.08));
        for side in [-1.0, 1.0] {
            let x = side * self.eye_spacing;
            let slope = side * eye_slope;
            let socket = Blob { soft: 0.15, ..self.feature(x, y - 0.03, 0.19, 0.13) };
            canvas.paint(socket, skin * 0.6, 0.5);
            canvas.paint(Blob { slope, ..self.feature(x, y, 0.15, open) }, 0.35 + 0.6 * skin, 1.0);
            canvas.paint(self.feature(x + gaze, y, 0.065, open.min(0.07)), 0.08, 1.0);
            let lid = Blob { slope, bend: open, ..self.feature(x, y - open, 0.16, 0.022) };
            canvas.paint(lid, skin * 0.25, 0.9);
            let pouch = Blob { slope, soft: 0.06, ..self.feature(x, y + open + 0.06, 0.13, 0.015) };
            canvas.paint(pouch, skin * 0.5, 0.4);
            let brow = self.feature(x, brow_y, 0.2, brow_height);
            let brow = Blob { slope: side * brow_slope, bend, ..brow };
            canvas.paint(brow, (self.hair * 0.7).min(skin * 0.6), 0.9);
        }
    }

    fn paint_nose(&self, canvas: &mut Canvas, rng: &mut Philox) {
        let tip = self.eye_height + uniform(rng, 0.26, 0.36);
        let width = uniform(rng, 0.05, 0.1);
        // It stands out from the face, so a turn moves it further.
        let x = 0.15 * self.yaw;
        let bridge = Blob { soft: 0.08, ..self.feature(x, tip - 0.17, 0.04, 0.2) };
        canvas.paint(bridge, self.skin * 1.25, 0.5);
        let shade = if self.light[0] > 0.0 { x - 0.09 } else { x + 0.09 };
        let shade = Blob { soft: 0.08, ..self.feature(shade, tip - 0.1, 0.03, 0.18) };
        canvas.paint(shade, self.skin * 0.6, 0.5);
        for side in [-1.0, 1.0] {
            let nostril = self.feature(x + side * width, tip + 0.03, 0.04, 0.025);
            canvas.paint(nostril, self.skin * 0.3, 0.8);
        }
    }

    fn paint_mouth(&self, canvas: &mut Canvas, rng: &mut Philox) {
        let skin = self.skin;
        let Expression { mouth_lift: lift, mouth_width: width, mouth_open: open, .. } = self.expression;
        let y = uniform(rng, 0.48, 0.58);
        for side in [-1.0, 1.0] {
            let cheek = Blob { soft: 0.2, ..self.feature(side * 0.4, 0.2, 0.14, 0.12) };
            canvas.paint(cheek, skin * 1.35, self.expression.cheeks);
            let fold = self.feature(side * 0.33, 0.5 * y + 0.08, 0.17, 0.015);
            let fold = Blob { slope: side * 2.0, soft: 0.05, ..fold };
            canvas.paint(fold, skin * 0.4, self.expression.cheeks);
        }
        let shadow = Blob { soft: 0.1, ..self.feature(0.0, y + 0.18 + open, width * 0.5, 0.03) };
        canvas.paint(shadow, skin * 0.5, 0.4);
        // Lowered by part of the lift, so that the height of the mouth alone does not tell the expression.
        let lips = self.feature(0.0, y + 0.4 * lift, width, open + uniform(rng, 0.03, 0.085));
        let lips = Blob { slope: bell(rng, 0.05), bend: -lift, ..lips };
        canvas.paint(lips, skin * uniform(rng, 0.5, 1.0), 0.8);
        canvas.paint(Blob { width: lips.width * 0.95, height: open + 0.022, ..lips }, skin * 0.15, 0.9);
        if open > 0.0 && chance(rng, 0.7) {
            let teeth =
                Blob { y: lips.y - 0.25 * open, width: lips.width * 0.8, height: open * 0.65, ..lips };
            canvas.paint(teeth, 0.35 + 0.6 * skin, 0.95);
        }
    }

    /// What hides parts of the face: a beard, glasses, a fringe, a shadow.
    fn paint_covers(&self, canvas: &mut Canvas, rng: &mut Philox) {
        if chance(rng, 0.1) {
            let beard = Blob { soft: 0.3, ..self.feature(0.0, 0.75, self.head_width * 0.75, 0.4) };
            canvas.paint(beard, self.hair, uniform(rng, 0.1, 0.4));
        }
        if chance(rng, 0.15) {
            let tone = uniform(rng, 0.0, 0.4);
            for side in [-1.0, 1.0] {
                let lens = self.feature(side * self.eye_spacing, self.eye_height + 0.02, 0.23, 0.19);
                canvas.paint(Blob { rim: 0.025, ..lens }, tone, 0.9);
            }
            canvas.paint(self.feature(0.0, self.eye_height, 0.08, 0.025), tone, 0.9);
        }
        if chance(rng, 0.25) {
            let fringe = Blob::ellipse(0.0, -0.9, self.head_width * 0.9, uniform(rng, 0.25, 0.55));
            canvas.paint(Blob { slope: bell(rng, 0.3), bend: 0.3, ..fringe }, self.hair, 0.95);
        }
        let (x, y) = (uniform(rng, -1.2, 1.2), uniform(rng, -1.2, 1.2));
        let shadow = Blob { soft: 0.8, ..Blob::ellipse(x, y, 0.8, 0.8) };
        canvas.paint(shadow, 0.0, uniform(rng, 0.0, 0.4));
    }
}

/// An ellipse, possibly tilted, bent, tapered or hollow.
#[derive(Clone, Copy)]
struct Blob {
    x: f32,
    y: f32,
    /// Half the extent along the blob.
    width: f32,
    /// Half the extent across it.
    height: f32,
    /// Tangent of the tilt.
    slope: f32,
    /// How far both ends hang below the middle.
    bend: f32,
    /// How much narrower the blob is at its lower end.
    taper: f32,
    /// Half the thickness of the rim of a hollow blob; 0 for a filled one.
    rim: f32,
    /// Width of the transition at the edge, beside that of the pixels.
    soft: f32,
}

impl Blob {
    fn ellipse(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self { x, y, width, height, slope: 0.0, bend: 0.0, taper: 0.0, rim: 0.0, soft: 0.0 }
    }

    /// About the signed distance of a point, in the blob's own axes, to the edge: f / |∇f| of the f that is 0
    /// there.
    #[inline]
    fn distance(&self, x: f32, y: f32) -> f32 {
        let across = 1.0 / self.height;
        let along = 1.0 / (self.width * (1.0 - self.taper * y));
        let u = x * along;
        let v = (y - self.bend * u * u) * across;
        let radius = (u * u + v * v).sqrt().max(1e-6);
        let du = (u - 2.0 * v * self.bend * u * across) * along;
        let dv = v * across;
        let distance = radius * (radius - 1.0) / (du * du + dv * dv).sqrt().max(1e-6);
        if self.rim > 0.0 { distance.abs() - self.rim } else { distance }
    }
}

/// Where the head is in the picture.
#[derive(Clone, Copy)]
struct Pose {
    /// Centre, in pixels.
    x: f32,
    y: f32,
    /// Half the height of the head, in pixels.
    scale: f32,
    /// Rotation in the plane of the picture.
    sin: f32,
    cos: f32,
}

impl Pose {
    fn sample(rng: &mut Philox) -> Self {
        let centre = (SIDE - 1) as f32 / 2.0;
        // The tangent of half the angle: about 6°, at most 20°.
        let t = bell(rng, 0.05);
        Self {
            x: centre + uniform(rng, -2.5, 2.5),
            y: centre + uniform(rng, -2.5, 2.5),
            scale: uniform(rng, 19.0, 24.0),
            sin: 2.0 * t / (1.0 + t * t),
            cos: (1.0 - t * t) / (1.0 + t * t),
        }
    }
}

/// The pixels within `reach` of `centre` along one side of the picture.
fn span(centre: f32, reach: f32) -> Range<usize> {
    // The casts saturate: below 0 is 0.
    let first = (centre - reach) as usize;
    let end = (centre + reach + 1.0) as usize;
    first.min(SIDE)..end.min(SIDE)
}

struct Canvas {
    tones: [f32; SIDE * SIDE],
    pose: Pose,
}

impl Canvas {
    fn new(tone: f32, pose: Pose) -> Self {
        Self { tones: [tone; SIDE * SIDE], pose }
    }

    /// Blends the blob towards `tone`, by `opacity` where it covers a pixel wholly.
    fn paint(&mut self, blob: Blob, tone: f32, opacity: f32) {
        let Pose { x, y, scale, sin, cos } = self.pose;
        let centre_x = x + scale * (cos * blob.x - sin * blob.y);
        let centre_y = y + scale * (sin * blob.x + cos * blob.y);
        // The axes of the blob in the picture: the tilt of the head and its own.
        let own = 1.0 / (1.0 + blob.slope * blob.slope).sqrt();
        let (sin, cos) = (own * (sin + cos * blob.slope), own * (cos - sin * blob.slope));
        let edge = 1.0 + blob.soft * scale;
        let margin = blob.rim * scale + edge;
        let width = blob.width * (1.0 + blob.taper) * scale + margin;
        let height = (blob.height + blob.bend.abs()) * scale + margin;
        let columns = span(centre_x, cos.abs() * width + sin.abs() * height);
        for row in span(centre_y, sin.abs() * width + cos.abs() * height) {
            let dy = (row as i32 as f32 - centre_y) / scale;
            let tones = &mut self.tones[row * SIDE..][columns.clone()];
            for (pixel, column) in tones.iter_mut().zip(columns.start as i32..) {
                let dx = (column as f32 - centre_x) / scale;
                let distance = blob.distance(cos * dx + sin * dy, cos * dy - sin * dx) * scale;
                let coverage = (0.5 - distance / edge).clamp(0.0, 1.0);
                *pixel += (tone - *pixel) * coverage * opacity;
            }
        }
    }

    /// Brightens towards one side, by `slope` from the centre to the right and lower edge, and everywhere by
    /// `gain`.
    fn light(&mut self, slope: [f32; 2], gain: f32) {
        let offset = |i: usize| (2 * i + 1) as f32 / SIDE as f32 - 1.0;
        for (i, tone) in self.tones.iter_mut().enumerate() {
            let light = 1.0 + slope[0] * offset(i % SIDE) + slope[1] * offset(i / SIDE);
            *tone *= gain * light.max(0.1);
        }
    }

    /// Mixes each pixel with its neighbours, `weight` of each, along rows and then columns.
    fn blur(&mut self, weight: f32) {
        for step in [1, SIDE] {
            let sharp = self.tones;
            for (i, tone) in self.tones.iter_mut().enumerate() {
                let place = i / step % SIDE;
                let before = if place > 0 { sharp[i - step] } else { sharp[i] };
                let after = if place < SIDE - 1 { sharp[i + step] } else { sharp[i] };
                *tone += weight * (before - 2.0 * sharp[i] + after);
            }
        }
    }

    fn noise(&mut self, deviation: f32, rng: &mut Philox) {
        self.tones.iter_mut().for_each(|tone| *tone += bell(rng, deviation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_face_depends_on_the_seed_and_its_index_alone() {
        let (pixels, labels) = draw(20, 7);
        assert_eq!((pixels.clone(), labels.clone()), draw(20, 7));
        let (first_pixels, first_labels) = draw(5, 7);
        assert_eq!(first_pixels, pixels[..5 * SIDE * SIDE]);
        assert_eq!(first_labels, labels[..5]);
        assert_ne!(pixels, draw(20, 8).0);
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let (pixels, _) = draw(100, 42);
        let hash =
            pixels.iter().fold(0x811c_9dc5_u32, |hash, &p| (hash ^ u32::from(p)).wrapping_mul(0x0100_0193));
        assert_eq!(hash, 3_431_263_065, "FNV-1a of the pixels");
    }

    #[test]
    fn the_labels_are_in_the_proportions_of_fer2013() {
        let (_, labels) = draw(1000, 1);
        let count = |label| labels.iter().filter(|&&l| l == label).count();
        let counts = [count(HAPPY), count(SAD), count(NEUTRAL)];
        assert_eq!(counts.iter().sum::<usize>(), 1000);
        // Binomial standard deviations of about 15.
        assert!(counts[0].abs_diff(423) < 60 && counts[1].abs_diff(286) < 60, "{counts:?}");
    }

    #[test]
    fn the_faces_are_distinct_and_none_is_flat() {
        let (pixels, _) = draw(200, 2);
        let mut faces: Vec<&[u8]> = pixels.chunks(SIDE * SIDE).collect();
        for face in &faces {
            let (low, high) = face.iter().fold((255, 0), |(low, high), &p| (p.min(low), p.max(high)));
            assert!(high - low > 40, "tones from {low} to {high}");
        }
        faces.sort();
        faces.dedup();
        assert_eq!(faces.len(), 200);
    }
}
