//! Pictures of every kind, whole, cut, turned, and what is none.

use std::io::Cursor;

use fer_picture::{Decoder, Problem, decode};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::WebP,
];

/// Noise, so that no part of the file says nothing.
fn noise() -> RgbImage {
    let value =
        |x: u32, y: u32, c: u32| ((x * 7919 + y * 104_729 + c * 31).wrapping_mul(2_654_435_761) >> 24) as u8;
    RgbImage::from_fn(64, 48, |x, y| Rgb([value(x, y, 0), value(x, y, 1), value(x, y, 2)]))
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_kind_is_told_by_its_contents() {
    for format in FORMATS {
        let picture = decode(&encoded(&noise(), format)).unwrap();
        assert_eq!((picture.width(), picture.height()), (64, 48), "{format:?}");
    }
}

#[test]
fn a_picture_that_is_cut_is_an_error_or_the_same_picture() {
    for format in FORMATS {
        let whole = encoded(&noise(), format);
        let picture = decode(&whole).unwrap();
        let cuts = (0..64).map(|part| whole.len() * part / 64).chain(whole.len() - 12..whole.len());
        for cut in cuts {
            if let Ok(found) = decode(&whole[..cut]) {
                assert_eq!(found, picture, "{format:?} cut at {cut} of {}", whole.len());
            }
        }
        assert!(decode(&whole[..whole.len() / 2]).is_err(), "{format:?}");
    }
}

#[test]
fn a_cut_jpeg_is_taken_where_it_is_wanted() {
    let whole = encoded(&noise(), ImageFormat::Jpeg);
    let half = &whole[..whole.len() / 2];
    assert!(matches!(decode(half), Err(Problem::Truncated)));
    let picture = Decoder { allow_truncated: true, ..Decoder::default() }.decode(half).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 48));
}

/// A JPEG with an EXIF segment after its start: this orientation, and a preview that ends with the mark of an end.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif: &[u8] = &[
        0xff,
        0xe1,
        0,
        36,
        b'E',
        b'x',
        b'i',
        b'f',
        0,
        0,
        b'M',
        b'M',
        0,
        42,
        0,
        0,
        0,
        8,
        0,
        1,
        0x01,
        0x12,
        0,
        3,
        0,
        0,
        0,
        1,
        0,
        orientation,
        0,
        0,
        0,
        0,
        0,
        0,
        0xff,
        0xd9,
    ];
    [&jpeg[..2], exif, &jpeg[2..]].concat()
}

#[test]
fn a_photo_is_turned_as_its_exif_orientation_says() {
    let left_is_dark = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 0 } else { 255 }; 3]));
    let jpeg = encoded(&left_is_dark, ImageFormat::Jpeg);
    let dark = |picture: &DynamicImage, x, y| picture.to_luma8().get_pixel(x, y)[0] < 30;
    let same = decode(&with_exif(&jpeg, 1)).unwrap();
    assert_eq!((same.width(), dark(&same, 0, 4), dark(&same, 15, 4)), (16, true, false));
    let mirrored = decode(&with_exif(&jpeg, 2)).unwrap();
    assert_eq!((mirrored.width(), dark(&mirrored, 0, 4), dark(&mirrored, 15, 4)), (16, false, true));
    // A quarter clockwise: what was left is above.
    let turned = decode(&with_exif(&jpeg, 6)).unwrap();
    assert_eq!((turned.width(), dark(&turned, 4, 0), dark(&turned, 4, 15)), (8, true, false));
    let back = decode(&with_exif(&jpeg, 8)).unwrap();
    assert_eq!((back.width(), dark(&back, 4, 0), dark(&back, 4, 15)), (8, false, true));
}

#[test]
fn the_end_of_a_preview_is_not_the_end_of_the_photo() {
    let jpeg = with_exif(&encoded(&noise(), ImageFormat::Jpeg), 1);
    assert!(decode(&jpeg).is_ok());
    assert!(matches!(decode(&jpeg[..jpeg.len() / 2]), Err(Problem::Truncated)));
}

#[test]
fn what_takes_too_much_memory_is_refused_before_it_is_decoded() {
    let small = Decoder { max_bytes: 64 * 48 * 3 - 1, ..Decoder::default() };
    for format in FORMATS {
        let error = small.decode(&encoded(&noise(), format)).unwrap_err();
        assert!(matches!(error, Problem::TooLarge { width: 64, height: 48, .. }), "{format:?}: {error}");
    }
    // A PNG that says it is 20,480 wide and high, in grey: 419 MB.
    let mut png = encoded(&noise(), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 80, 0, 0, 0, 80, 0]);
    png[25] = 0;
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let error = decode(&png).unwrap_err().to_string();
    assert_eq!(error, "a picture of 20480×20480 takes 419 MB; allowed: 400 MB");
}

/// PNG's checksum of a part.
fn crc(part: &[u8]) -> u32 {
    !part.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn what_is_no_picture_is_named() {
    let said = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    let allowed = "no picture; allowed: PNG, JPEG, BMP, GIF, TIFF, WebP";
    assert_eq!(said(b""), format!("an empty file, {allowed}"));
    assert_eq!(said(b"words"), format!("unknown bytes, {allowed}"));
    assert_eq!(said(b"<html>not found</html>"), format!("a web page, {allowed}"));
    assert_eq!(said(b"\0\0\0\x18ftypheic\0\0\0\0"), format!("a HEIC or AVIF picture, {allowed}"));
}

#[test]
fn an_error_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.png");
    assert!(fer_picture::read(&path).unwrap_err().to_string().contains("notes.png: "));
    std::fs::write(&path, "words").unwrap();
    assert!(
        fer_picture::read(&path).unwrap_err().to_string().contains("notes.png: unknown bytes, no picture")
    );
}

/// Found by fuzzing: `zune-jpeg` 0.5.15 panics on it.
#[test]
fn what_a_decoder_panics_on_is_an_error() {
    let decoder = Decoder { allow_truncated: true, ..Decoder::default() };
    let problem = decoder.decode(include_bytes!("damaged.jpg")).err();
    assert!(matches!(problem, Some(Problem::Decode(_))), "{problem:?}");
}

#[test]
fn damage_is_an_error_or_another_picture_but_no_panic() {
    let small = Decoder { max_bytes: 1_000_000, allow_truncated: true, ..Decoder::default() };
    // Steps of a linear congruential generator.
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for format in FORMATS {
        let whole = encoded(&noise(), format);
        for _ in 0..500 {
            let mut damaged = whole.clone();
            for _ in 0..=draw(4) {
                // Most of what matters is at the beginning.
                let within = if draw(2) == 0 { damaged.len().min(64) } else { damaged.len() };
                damaged[draw(within)] = draw(256) as u8;
            }
            if draw(4) == 0 {
                damaged.truncate(draw(damaged.len()));
            }
            let _ = small.decode(&damaged);
        }
    }
}
