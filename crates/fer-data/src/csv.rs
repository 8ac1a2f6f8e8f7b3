//! Reads the CSV layouts of FER2013: `fer2013.csv`, `icml_face_data.csv`, `train.csv` and `test.csv`.
//!
//! The columns are found by their names, in any order: `pixels` always; `emotion` or `label` unless `pixels` is alone;
//! `Usage` where there is one. Others are passed over.

use std::path::Path;

use image::{GrayImage, imageops::FilterType};

use crate::{
    Dataset, Problem, ReadConfig, Result, Shape, Size, Source, Usage,
    classes::Naming,
    error::shorten,
    lines::{Fields, Lines},
    size,
};

/// Reads and checks every row.
pub(crate) fn read(path: &Path, config: &ReadConfig) -> Result<Dataset> {
    let mut lines = Lines::open(path)?;
    let header = lines.header()?;
    let mut rows =
        Rows::new(&header, Naming::of(&config.classes)?).map_err(|problem| lines.error(problem))?;
    while let Some(line) = lines.next_row()? {
        let pushed = rows.push(line);
        pushed.map_err(|problem| lines.error(problem))?;
        size::bytes(path, rows.n, rows.shape)?;
    }
    if rows.n == 0 {
        return Err(lines.error(Problem::NoRows));
    }
    if let Some(size) = config.size {
        size::bytes(path, rows.n, size.shape(1))?;
        rows.resize(size);
    }
    rows.pixels.shrink_to_fit();
    let labels = match rows.emotion {
        Some(_) => {
            let vocabulary = rows.naming.finish(&mut rows.labels)?;
            Some((rows.labels, vocabulary))
        }
        None => None,
    };
    let usages = rows.usage.is_some().then_some(rows.usages);
    if config.colour {
        size::bytes(path, rows.n, Shape { channels: 3, ..rows.shape })?;
    }
    let data = Dataset::of(rows.pixels, rows.shape, labels, usages, Source::new(path, lines.md5()));
    Ok(if config.colour { data.in_colour() } else { data })
}

struct Rows {
    fields: usize,
    emotion: Option<usize>,
    usage: Option<usize>,
    image: usize,
    n: usize,
    shape: Shape,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    naming: Naming,
    usages: Vec<Usage>,
}

impl Rows {
    fn new(header: &[String], naming: Naming) -> Result<Self, Problem> {
        let find = |column: &str| header.iter().position(|name| name.eq_ignore_ascii_case(column));
        let missing = |column| Problem::MissingColumn { column, found: header.to_vec() };
        let emotion = find("emotion").or_else(|| find("label"));
        let Some(image) = find("pixels") else {
            let votes = find("neutral").is_some() && find("NF").is_some();
            return Err(if votes { Problem::VotesWithoutImages } else { missing("pixels") });
        };
        if emotion.is_none() && header.len() > 1 {
            return Err(missing("emotion"));
        }
        Ok(Self {
            fields: header.len(),
            emotion,
            usage: find("Usage"),
            image,
            n: 0,
            shape: Shape::grey(0),
            pixels: Vec::new(),
            labels: Vec::new(),
            naming,
            usages: Vec::new(),
        })
    }

    fn push(&mut self, line: &str) -> Result<(), Problem> {
        let mut found = 0;
        for field in Fields::of(line) {
            let field = field?;
            if found == self.image {
                self.push_image(field)?;
            } else if Some(found) == self.emotion {
                let label = self.naming.label(field.trim()).ok_or_else(|| Problem::Value {
                    column: "emotion",
                    found: shorten(field.trim()),
                    allowed: self.naming.allowed(),
                })?;
                self.labels.push(label);
            } else if Some(found) == self.usage {
                self.usages.push(usage(field.trim())?);
            }
            found += 1;
        }
        if found != self.fields {
            return Err(Problem::Fields { found, expected: self.fields });
        }
        self.n += 1;
        Ok(())
    }

    /// Brings all images to this size.
    fn resize(&mut self, size: Size) {
        let (before, after) = (self.shape.width as u32, (size.width.get(), size.height.get()));
        if size.shape(1) == self.shape {
            return;
        }
        let resized = self.pixels.chunks(self.shape.values()).flat_map(|image| {
            // A row has as many pixels as the shape says.
            let image = GrayImage::from_raw(before, before, image.to_owned()).unwrap_or_default();
            fer_picture::planes(&image.into(), 1, after, FilterType::Triangle)
        });
        self.pixels = resized.collect();
        self.shape = size.shape(1);
    }

    fn push_image(&mut self, field: &str) -> Result<(), Problem> {
        if self.n == 0 {
            let found = field.split_ascii_whitespace().count();
            self.shape = Shape::grey(found.isqrt());
            if found == 0 || self.shape.values() != found {
                return Err(Problem::NotSquare { found });
            }
        }
        let start = self.pixels.len();
        self.pixels.resize(start + self.shape.values(), 0);
        match parse(field.as_bytes(), &mut self.pixels[start..]) {
            true => Ok(()),
            false => Err(explain(field, self.shape.width)),
        }
    }
}

pub(crate) fn usage(found: &str) -> Result<Usage, Problem> {
    found.parse().map_err(|_| Problem::Value {
        column: "Usage",
        found: shorten(found),
        allowed: "Training, PublicTest, PrivateTest".to_owned(),
    })
}

/// Parses numbers from 0 to 255, of at most three digits, with space between them; false when the text holds
/// anything else, or more or fewer numbers than there are `pixels`.
fn parse(text: &[u8], pixels: &mut [u8]) -> bool {
    let mut pixels = pixels.iter_mut();
    let mut bytes = text.iter();
    while let Some(&first) = bytes.next() {
        if first.is_ascii_whitespace() {
            continue;
        }
        let mut value = u32::from(first.wrapping_sub(b'0'));
        // A byte that is no digit makes the value too large, whatever follows.
        let mut wrong = value > 9;
        let mut digits = 1;
        for &byte in bytes.by_ref() {
            if byte.is_ascii_whitespace() {
                break;
            }
            let digit = u32::from(byte.wrapping_sub(b'0'));
            wrong |= digit > 9;
            value = value * 10 + digit;
            digits += 1;
            if digits > 3 {
                return false;
            }
        }
        match pixels.next() {
            Some(pixel) if !wrong && value <= 255 => *pixel = value as u8,
            _ => return false,
        }
    }
    pixels.next().is_none()
}

/// What [`parse`] refused.
fn explain(field: &str, side: usize) -> Problem {
    let of = field.split_ascii_whitespace().count();
    let wrong = |value: &str| value.len() > 3 || value.parse::<u8>().is_err() || value.starts_with('+');
    match field.split_ascii_whitespace().enumerate().find(|(_, value)| wrong(value)) {
        Some((pixel, value)) => Problem::Pixel { pixel: pixel + 1, of, found: shorten(value) },
        None => Problem::OtherSize { found: of, side },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Classes;

    #[test]
    fn the_side_is_found_from_the_first_row() {
        let header = ["pixels".to_owned()];
        let mut rows = Rows::new(&header, Naming::of(&Classes::default()).unwrap()).unwrap();
        rows.push(" 0 007  255 9 ").unwrap();
        assert_eq!((rows.shape, rows.pixels), (Shape::grey(2), vec![0, 7, 255, 9]));
    }

    proptest! {
        #[test]
        fn pixels_written_are_pixels_read(pixels in prop::collection::vec(any::<u8>(), 0..64)) {
            let text: Vec<String> = pixels.iter().map(u8::to_string).collect();
            let mut read = vec![0; pixels.len()];
            prop_assert!(parse(text.join(" ").as_bytes(), &mut read));
            prop_assert_eq!(read, pixels);
        }

        #[test]
        fn what_is_parsed_is_what_is_not_explained(text in "[0-9 +a/:\u{e9}]{0,12}", n in 0_usize..3) {
            let values: Option<Vec<u8>> = text
                .split_ascii_whitespace()
                .map(|value| value.parse().ok().filter(|_| value.len() <= 3 && !value.starts_with('+')))
                .collect();
            let mut read = vec![0; n * n];
            let parsed = parse(text.as_bytes(), &mut read);
            prop_assert_eq!(parsed, values.as_ref().is_some_and(|values| values.len() == n * n));
            if parsed {
                prop_assert_eq!(Some(read), values);
            } else {
                prop_assert_eq!(values.is_none(), matches!(explain(&text, n), Problem::Pixel { .. }));
            }
        }
    }
}
