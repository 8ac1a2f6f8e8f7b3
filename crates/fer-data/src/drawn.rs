//! Faces that the project draws itself, to train on where no real faces are at hand.
//!
//! A [`Face`] is a set of random measures; rendering it paints one kind of shape, the [`Blob`], from back to
//! front. Nothing but `+ - * /` and square roots is used, so the bytes are the same on every machine.

use fer_rand::{Philox, Purpose, Stream};
use rand::Rng;

const SIDE: usize = 48;
const HAPPY: u8 = 3;
const SAD: u8 = 4;
const NEUTRAL: u8 = 6;

/// Draws `n` faces: their pixels, (n, 48, 48), and labels: 3 happy, 4 sad, 6 neutral.
///
/// Face `i` depends on `seed` and `i` alone. The labels are in the proportions of FER2013.
pub(crate) fn draw(n: usize, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut pixels = Vec::with_capacity(n * SIDE * SIDE);
    let mut labels = Vec::with_capacity(n);
    for i in 0..n {
        let stream = Stream { seed, purpose: Purpose::named("drawn"), epoch: 0, item: i as u32 };
        let mut rng = stream.rng();
        let face = Face::sample(&mut rng);
        labels.push(face.label);
        pixels.extend(face.render(&mut rng));
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

/// What the label decides. Lengths are in half heights of the head, from its centre, x to the right and y down;
/// slopes are tangents.
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
    fn sample(label: u8, rng: &mut Philox) -> Self {
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

/// The measures of one face, in the units of [`Expression`]; tones run from 0, black, to 1, white.
struct Face {
    label: u8,
    expression: Expression,
    pose: Pose,
    /// Tangent of the turn about the vertical axis.
    yaw: f32,
    head_width: f32,
    /// How much narrower the head is at the chin than at the brow.
    jaw: f32,
    skin: f32,
    background: f32,
    /// Something lighter or darker behind the head, and its tone.
    clutter: (Blob, f32),
    hair: f32,
    hair_height: f32,
    /// How far the hair hangs into the forehead, and its slope.
    fringe: Option<(f32, f32)>,
    /// How dense the beard is; 0 for none.
    beard: f32,
    /// Tone of the rims of the glasses.
    glasses: Option<f32>,
    eye_spacing: f32,
    eye_height: f32,
    gaze: f32,
    brow_height: f32,
    brow_bend: f32,
    brow_weight: f32,
    nose_length: f32,
    nose_width: f32,
    mouth_height: f32,
    mouth_slope: f32,
    teeth: bool,
    lip_weight: f32,
    lip_tone: f32,
    /// A soft shadow over the face, and its strength.
    shadow: (Blob, f32),
    /// Change of brightness from the centre to the right and lower edge.
    light: [f32; 2],
    gain: f32,
    /// Weight of each neighbour in the blur along one axis.
    blur: f32,
    /// Standard deviation.
    noise: f32,
}

impl Face {
    fn sample(rng: &mut Philox) -> Self {
        // The counts of FER2013.
        let label = match rng.below(8989 + 6077 + 6198) {
            0..8989 => HAPPY,
            8989..15066 => SAD,
            _ => NEUTRAL,
        };
        let mut place = || (uniform(rng, -1.2, 1.2), uniform(rng, -1.2, 1.2));
        let (behind, before) = (place(), place());
        let clutter = Blob::ellipse(behind.0, behind.1, uniform(rng, 0.2, 0.9), uniform(rng, 0.2, 1.5));
        let shadow = Blob { soft: 0.8, ..Blob::ellipse(before.0, before.1, 0.8, 0.8) };
        let skin = uniform(rng, 0.35, 0.85);
        Self {
            label,
            expression: Expression::sample(label, rng),
            pose: Pose::sample(rng),
            yaw: bell(rng, 0.13),
            head_width: uniform(rng, 0.68, 0.86),
            jaw: uniform(rng, 0.0, 0.22),
            skin,
            background: uniform(rng, 0.05, 0.95),
            clutter: (clutter, uniform(rng, 0.0, 1.0)),
            hair: if chance(rng, 0.75) { uniform(rng, 0.02, 0.25) } else { uniform(rng, 0.25, 0.95) },
            hair_height: uniform(rng, 0.0, 0.3),
            fringe: chance(rng, 0.25).then(|| (uniform(rng, 0.1, 0.4), bell(rng, 0.3))),
            beard: if chance(rng, 0.1) { uniform(rng, 0.1, 0.4) } else { 0.0 },
            glasses: chance(rng, 0.15).then(|| uniform(rng, 0.0, 0.4)),
            eye_spacing: uniform(rng, 0.28, 0.37),
            eye_height: uniform(rng, -0.2, -0.08),
            gaze: bell(rng, 0.03),
            brow_height: uniform(rng, 0.18, 0.28),
            brow_bend: uniform(rng, 0.0, 0.08),
            brow_weight: uniform(rng, 0.03, 0.055),
            nose_length: uniform(rng, 0.26, 0.36),
            nose_width: uniform(rng, 0.09, 0.16),
            mouth_height: uniform(rng, 0.48, 0.58),
            mouth_slope: bell(rng, 0.05),
            teeth: chance(rng, if label == HAPPY { 0.85 } else { 0.3 }),
            lip_weight: uniform(rng, 0.03, 0.085),
            lip_tone: uniform(rng, 0.5, 1.0) * skin,
            shadow: (shadow, uniform(rng, 0.0, 0.4)),
            light: [bell(rng, 0.25), bell(rng, 0.15)],
            gain: uniform(rng, 0.7, 1.15),
            blur: uniform(rng, 0.0, 0.22),
            noise: uniform(rng, 0.005, 0.045),
        }
    }

    fn render(&self, rng: &mut Philox) -> impl Iterator<Item = u8> {
        let mut canvas = Canvas::new(self.background, self.pose);
        self.paint_head(&mut canvas);
        self.paint_eyes(&mut canvas);
        self.paint_nose(&mut canvas);
        self.paint_mouth(&mut canvas);
        self.paint_covers(&mut canvas);
        canvas.light(self.light, self.gain);
        canvas.blur(self.blur);
        canvas.noise(self.noise, rng);
        canvas.tones.into_iter().map(|tone| (tone.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    }

    /// An ellipse on the front of the head, moved and narrowed as the head turns.
    fn feature(&self, x: f32, y: f32, width: f32, height: f32) -> Blob {
        let cos = 1.0 / (1.0 + self.yaw * self.yaw).sqrt();
        let narrowing = (1.0 - 1.4 * self.yaw * x) * cos;
        Blob::ellipse((x + self.yaw * (0.7 - 0.7 * x * x)) * cos, y, width * narrowing, height)
    }

    fn paint_head(&self, canvas: &mut Canvas) {
        let Self { head_width: width, skin, hair, jaw, .. } = *self;
        canvas.paint(self.clutter.0, self.clutter.1, 0.8);
        let hair_height = 0.95 + 0.3 * self.hair_height;
        canvas.paint(Blob::ellipse(0.0, -0.2, width * 1.12, hair_height), hair, 1.0);
        canvas.paint(Blob::ellipse(0.0, 1.1, width * 0.6, 0.6), skin * 0.75, 1.0);
        for side in [-1.0, 1.0] {
            canvas.paint(Blob::ellipse(side * width, -0.02, 0.1, 0.2), skin * 0.85, 1.0);
        }
        canvas.paint(Blob { taper: jaw, ..Blob::ellipse(0.0, 0.0, width, 1.0) }, skin * 0.82, 1.0);
        let bulge = Blob { soft: 0.6, ..self.feature(0.25 * self.light[0], 0.0, width * 0.6, 0.75) };
        canvas.paint(bulge, skin * 1.1, 0.9);
        let hairline = Blob { bend: 0.5, ..Blob::ellipse(0.0, -1.0, width * 0.98, 0.1 + self.hair_height) };
        canvas.paint(hairline, hair, 1.0);
    }

    fn paint_eyes(&self, canvas: &mut Canvas) {
        let Self { skin, eye_height, .. } = *self;
        let Expression { eye_open: open, eye_slope, brow_slope, .. } = self.expression;
        for side in [-1.0, 1.0] {
            let x = side * self.eye_spacing;
            let slope = side * eye_slope;
            let socket = Blob { soft: 0.15, ..self.feature(x, eye_height - 0.03, 0.19, 0.13) };
            canvas.paint(socket, skin * 0.6, 0.5);
            canvas.paint(Blob { slope, ..self.feature(x, eye_height, 0.15, open) }, 0.35 + 0.6 * skin, 1.0);
            canvas.paint(self.feature(x + self.gaze, eye_height, 0.065, open.min(0.07)), 0.08, 1.0);
            let lid = Blob { slope, bend: open, ..self.feature(x, eye_height - open, 0.16, 0.022) };
            canvas.paint(lid, skin * 0.25, 0.9);
            let pouch = Blob { slope, soft: 0.06, ..self.feature(x, eye_height + open + 0.06, 0.13, 0.015) };
            canvas.paint(pouch, skin * 0.5, 0.4);
            let brow = Blob {
                slope: side * brow_slope,
                bend: self.brow_bend,
                ..self.feature(x, eye_height - self.brow_height, 0.2, self.brow_weight)
            };
            canvas.paint(brow, (self.hair * 0.7).min(skin * 0.6), 0.9);
        }
    }

    fn paint_nose(&self, canvas: &mut Canvas) {
        let tip = self.eye_height + self.nose_length;
        let x = 0.15 * self.yaw;
        let bridge = Blob { soft: 0.08, ..self.feature(x, tip - 0.17, 0.04, 0.2) };
        canvas.paint(bridge, self.skin * 1.25, 0.5);
        let flank = if self.light[0] > 0.0 { -0.09 } else { 0.09 };
        let flank = Blob { soft: 0.08, ..self.feature(x + flank, tip - 0.1, 0.03, 0.18) };
        canvas.paint(flank, self.skin * 0.6, 0.5);
        for side in [-1.0, 1.0] {
            let nostril = self.feature(x + side * self.nose_width * 0.6, tip + 0.03, 0.04, 0.025);
            canvas.paint(nostril, self.skin * 0.3, 0.8);
        }
    }

    fn paint_mouth(&self, canvas: &mut Canvas) {
        let Self { skin, mouth_height: height, .. } = *self;
        let Expression { mouth_lift: lift, mouth_width: width, mouth_open: open, cheeks, .. } =
            self.expression;
        for side in [-1.0, 1.0] {
            let cheek = Blob { soft: 0.2, ..self.feature(side * 0.4, 0.2, 0.14, 0.12) };
            canvas.paint(cheek, skin * 1.35, cheeks);
            let fold = Blob {
                slope: side * 2.0,
                soft: 0.05,
                ..self.feature(side * 0.33, 0.5 * height + 0.08, 0.17, 0.015)
            };
            canvas.paint(fold, skin * 0.4, cheeks);
        }
        let shadow = Blob { soft: 0.1, ..self.feature(0.0, height + 0.18 + open, width * 0.5, 0.03) };
        canvas.paint(shadow, skin * 0.5, 0.4);
        // The mouth bends about its own middle height, so that its place does not tell the expression.
        let lip = Blob {
            slope: self.mouth_slope,
            bend: -lift,
            ..self.feature(0.0, height + 0.4 * lift, width, open + self.lip_weight)
        };
        canvas.paint(lip, self.lip_tone, 0.8);
        canvas.paint(Blob { width: lip.width * 0.95, height: open + 0.022, ..lip }, skin * 0.15, 0.9);
        if self.teeth && open > 0.0 {
            let teeth = Blob { y: lip.y - 0.25 * open, width: lip.width * 0.8, height: open * 0.65, ..lip };
            canvas.paint(teeth, 0.35 + 0.6 * skin, 0.95);
        }
    }

    /// What hides parts of the face: beard, glasses, fringe, shadow.
    fn paint_covers(&self, canvas: &mut Canvas) {
        let beard = Blob { soft: 0.3, ..self.feature(0.0, 0.75, self.head_width * 0.75, 0.4) };
        canvas.paint(beard, self.hair, self.beard);
        if let Some(tone) = self.glasses {
            for side in [-1.0, 1.0] {
                let lens = self.feature(side * self.eye_spacing, self.eye_height + 0.02, 0.23, 0.19);
                canvas.paint(Blob { rim: 0.025, ..lens }, tone, 0.9);
            }
            canvas.paint(self.feature(0.0, self.eye_height, 0.08, 0.025), tone, 0.9);
        }
        if let Some((depth, slope)) = self.fringe {
            let fringe = Blob::ellipse(0.0, -0.95, self.head_width * 0.9, 0.2 + depth);
            canvas.paint(Blob { slope, bend: 0.3, ..fringe }, self.hair, 0.95);
        }
        canvas.paint(self.shadow.0, 0.0, self.shadow.1);
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
    fn distance(&self, x: f32, y: f32) -> f32 {
        let width = self.width * (1.0 - self.taper * y);
        let u = x / width;
        let v = (y - self.bend * u * u) / self.height;
        let radius = (u * u + v * v).sqrt();
        let du = (u - 2.0 * v * self.bend * u / self.height) / width;
        let dv = v / self.height;
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
        let height = blob.height + blob.bend.abs();
        let reach = (blob.width * blob.width + height * height).sqrt() + blob.rim;
        let reach = reach * (1.0 + blob.taper.abs()) * scale + edge;
        let span = |centre: f32| {
            let first = (centre - reach).max(0.0) as usize;
            first..((centre + reach).max(-1.0) + 1.0).min(SIDE as f32) as usize
        };
        for row in span(centre_y) {
            for column in span(centre_x) {
                let dx = (column as f32 - centre_x) / scale;
                let dy = (row as f32 - centre_y) / scale;
                let distance = blob.distance(cos * dx + sin * dy, cos * dy - sin * dx) * scale;
                let coverage = (0.5 - distance / edge).clamp(0.0, 1.0);
                let pixel = &mut self.tones[row * SIDE + column];
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
