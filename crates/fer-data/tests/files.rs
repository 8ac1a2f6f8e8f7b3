//! Tables packed as people pack them, and files that are no tables.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use fer_data::{Dataset, ReadConfig, Size};

fn packed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives").join(name)
}

/// What is said of a file of this name and contents, without the folder.
fn said(name: &str, contents: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, contents).unwrap();
    let error = Dataset::open(&path).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn the_only_table_in_an_archive_is_read_as_it_is() {
    for name in ["deflated.zip", "stored.zip", "one.tar", "one.tar.gz"] {
        let data = Dataset::open(packed(name)).unwrap();
        assert_eq!((data.len(), data.shape().width), (8, 4), "{name}");
        assert_eq!(data.labels(), Some(&[0, 1, 2, 3, 4, 5, 6, 0][..]), "{name}");
        assert_eq!(data.image(7)[(0, 3, 3)], 127, "{name}");
        // Of the table, whatever it is packed in.
        assert_eq!(data.source().md5, Dataset::open(packed("one.tar")).unwrap().source().md5, "{name}");
    }
}

#[test]
fn other_archives_say_what_to_do() {
    let said = |name: &str| {
        let error = Dataset::open(packed(name)).unwrap_err().to_string();
        error.replace(&format!("{}/", packed("").display()).replace("//", "/"), "")
    };
    let expected = ", where a CSV file was expected; ";
    assert_eq!(
        said("two.zip"),
        format!(
            "two.zip: a zip archive with 2 CSV files (a/train.csv, a/test.csv){expected}unpack it and give one of them"
        )
    );
    assert_eq!(
        said("none.zip"),
        format!("none.zip: a zip archive without a CSV file{expected}unpack it and give what is in it")
    );
    let lzma = said("lzma.zip");
    assert!(
        lzma.starts_with("lzma.zip: a zip archive packed by ")
            && lzma.ends_with(&format!("{expected}unpack it first")),
        "{lzma}"
    );
    assert_eq!(said("one.tar.xz"), format!("one.tar.xz: an xz file{expected}unpack it first"));
}

#[test]
fn a_damaged_archive_is_an_error_wherever_the_damage_is() {
    for name in ["deflated.zip", "stored.zip", "one.tar.gz"] {
        let whole = fs::read(packed(name)).unwrap();
        for cut in (1..whole.len()).step_by(7) {
            said(name, &whole[..cut]);
        }
    }
    // One digit of the table is another; the archive's checksum is what it was.
    let mut stored = fs::read(packed("stored.zip")).unwrap();
    let at = stored.windows(8).position(|bytes| bytes == b"Training").unwrap() - 2;
    stored[at] ^= 1;
    let error = said("stored.zip", &stored);
    assert!(error.contains("reading failed: Invalid checksum"), "{error}");
    // A tar archive whose checksum is no number.
    let mut tar = fs::read(packed("one.tar")).unwrap();
    tar[148..156].copy_from_slice(b"\x1b[31m\x02\x02\x02");
    let error = said("one.tar", &tar);
    assert!(error.contains("a damaged tar archive") && !error.contains(char::is_control), "{error}");
    assert!(error.contains("\\u{1b}[31m"), "{error}");
}

#[test]
fn damage_is_an_error_or_the_same_table_but_no_panic() {
    // Steps of a linear congruential generator.
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for name in ["deflated.zip", "stored.zip", "one.tar.gz"] {
        let (whole, table) = (fs::read(packed(name)).unwrap(), Dataset::open(packed(name)).unwrap());
        for _ in 0..300 {
            let mut damaged = whole.clone();
            for _ in 0..=draw(3) {
                let at = draw(damaged.len());
                damaged[at] = draw(256) as u8;
            }
            fs::write(&path, damaged).unwrap();
            // Checksums tell damage from another table.
            match Dataset::open(&path) {
                Ok(found) => assert_eq!(found.source().md5, table.source().md5, "{name}"),
                Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
            }
        }
    }
}

#[test]
fn what_is_no_table_is_named_with_what_to_do() {
    for (contents, found) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "the pointer of a file that Git LFS has not fetched",
        ),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"BZh91AY", "a bzip2 file"),
        (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
        (b"\xff\xfee\0m\0o\0", "text in UTF-16"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras' .h5"),
    ] {
        let error = said("x.csv", contents);
        assert!(error.starts_with(&format!("x.csv: {found}, where a CSV file was expected; ")), "{error}");
    }
    assert_eq!(
        said("x.csv", b""),
        "x.csv: line 1: the file is empty; expected a header, such as `emotion,pixels,Usage`"
    );
    assert_eq!(
        said("x.csv", b"emotion;pixels;Usage\n3;1 2 3 4;Training\n"),
        "x.csv: line 1: the header's fields are divided by semicolons; allowed: commas; save the table as comma-separated values"
    );
    assert!(said("x.csv", b"emotion\tpixels\n").contains("divided by tabs"));
    assert_eq!(
        said("x.csv", b"emotion,pixels\r3,1 2 3 4\r"),
        "x.csv: line 1: lines end with a carriage return alone; allowed: a line feed, with or without one before it"
    );
    assert_eq!(
        said("x.csv", b"emo\x1b[31mtion\0,other\n"),
        "x.csv: line 1: no column `pixels`; found `emo\\u{1b}[31mtion\\u{0}`, `other`"
    );
}

#[test]
fn a_table_of_another_size_is_resized_where_a_size_is_given() {
    let config = ReadConfig { size: Some("2x1".parse().unwrap()), ..ReadConfig::default() };
    let data = Dataset::open_with(packed("one.tar"), &config).unwrap();
    assert_eq!((data.len(), data.image(0).dim()), (8, (1, 1, 2)));
    // Rows of 0, 1, 2, … by 4: the mean of the weights of a triangle filter lies near that of the pixels.
    let whole = Dataset::open(packed("one.tar")).unwrap();
    for i in 0..8 {
        let mean = |data: &Dataset| {
            data.image(i).iter().map(|&v| f64::from(v)).sum::<f64>() / data.image(i).len() as f64
        };
        assert!((mean(&data) - mean(&whole)).abs() <= 1.0);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let feed = |name: &str| {
        let (from, to) = (packed(name), pipe.clone());
        std::thread::spawn(move || fs::write(to, fs::read(from).unwrap()))
    };
    let writer = feed("deflated.zip");
    let error = Dataset::open(&pipe).unwrap_err().to_string();
    assert!(error.contains("a zip archive, where a CSV file was expected; unpack it first"), "{error}");
    let _ = writer.join().unwrap();

    let table = folder.path().join("table.csv");
    fs::write(&table, "emotion,pixels\n3,1 2 3 4\n").unwrap();
    let to = pipe.clone();
    let writer = std::thread::spawn(move || fs::copy(table, to));
    assert_eq!(Dataset::open(&pipe).unwrap().labels(), Some(&[3][..]));
    writer.join().unwrap().unwrap();
}

#[test]
fn packings_in_packings_are_named() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &fs::read(packed("stored.zip")).unwrap()).unwrap();
    let said = said("table.zip.gz", &gzip.finish().unwrap());
    assert_eq!(said, "table.zip.gz: a zip archive, where a CSV file was expected; unpack it first");
}

#[test]
fn images_beyond_reason_are_refused_before_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "emotion,pixels\n3,0 1 2 3\n").unwrap();
    fs::create_dir_all(folder.path().join("faces/happy")).unwrap();
    for i in 0..4 {
        image::GrayImage::new(4, 4).save(folder.path().join(format!("faces/happy/{i}.png"))).unwrap();
    }
    for side in [100_000, 1 << 31, u32::MAX] {
        let size = NonZeroU32::new(side).map(Size::square);
        let config = ReadConfig { size, ..ReadConfig::default() };
        for data in [path.clone(), folder.path().join("faces")] {
            let error = Dataset::open_with(&data, &config).unwrap_err();
            assert!(matches!(error, fer_data::Error::TooLarge { .. }), "{side}: {error}");
        }
        let image = image::DynamicImage::new_luma8(4, 4);
        let error = Dataset::from_images([(image, 3)], size).unwrap_err();
        assert!(matches!(error, fer_data::Error::TooLarge { .. }), "{side}: {error}");
    }
}

#[test]
fn a_picture_without_pixels_and_a_video_that_is_called_a_picture_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("happy")).unwrap();
    let path = folder.path().join("happy/a.gif");
    let mut gif = Vec::new();
    image::codecs::gif::GifEncoder::new(&mut gif)
        .encode(&[0; 12], 2, 2, image::ExtendedColorType::Rgb8)
        .unwrap();
    // The size of the screen.
    gif[6..10].fill(0);
    fs::write(&path, gif).unwrap();
    for size in [None, NonZeroU32::new(48).map(Size::square)] {
        let config = ReadConfig { size, ..ReadConfig::default() };
        let error = Dataset::open_with(folder.path(), &config).unwrap_err().to_string();
        assert!(error.ends_with("a.gif: a picture of 0×0; allowed: at least one pixel"), "{error}");
    }
    // Of a file that is no picture only the first bytes are read.
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = Dataset::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("a.gif: unknown bytes, no picture"), "{error}");
}
