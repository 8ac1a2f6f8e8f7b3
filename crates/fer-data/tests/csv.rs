//! CSV files as people have them, and every way in which they can be wrong.

use std::{
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use fer_data::{Dataset, Usage};

/// A temporary file with this content.
fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn open(content: impl AsRef<[u8]>) -> Dataset {
    Dataset::open(file(content.as_ref()).path()).unwrap()
}

/// The error without the file's name, which it must begin with.
fn error(content: impl AsRef<[u8]>) -> String {
    let file = file(content.as_ref());
    let error = Dataset::open(file.path()).unwrap_err().to_string();
    error.strip_prefix(&format!("{}: ", file.path().display())).unwrap().to_owned()
}

/// `n` numbers with spaces between them.
fn pixels(n: usize) -> String {
    (0..n).map(|i| (i % 256).to_string()).collect::<Vec<_>>().join(" ")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn every_layout_gives_the_same_faces() {
    let fer2013 = "emotion,pixels,Usage\n3,1 2 3 4,Training\n6,255 0 0 9,PrivateTest\n";
    let layouts = [
        fer2013.as_bytes().to_vec(),
        fer2013.replace('\n', "\r\n").into_bytes(),
        format!("\u{feff}{fer2013}").into_bytes(),
        fer2013.trim_end().as_bytes().to_vec(),
        gzip(fer2013.as_bytes()),
        [gzip(&fer2013.as_bytes()[..30]), gzip(&fer2013.as_bytes()[30..])].concat(),
        zstd::encode_all(fer2013.as_bytes(), 3).unwrap(),
        b"emotion, Usage, pixels\n3,Training,1 2 3 4\n\n6,PrivateTest,255 0 0 9\n\n".to_vec(),
        b"\"id\",\"emotion\",\"pixels\",\"Usage\"\n\"a,\"\"b\"\"\",\"3\",\"1 2 3 4\",\"Training\"\nc,6,\"255 0 0 9\",PrivateTest".to_vec(),
    ];
    for layout in layouts {
        let data = open(&layout);
        assert_eq!((data.len(), data.shape().width), (2, 2), "{}", String::from_utf8_lossy(&layout));
        assert_eq!(data.labels(), Some(&[3, 6][..]));
        assert_eq!(data.image(1), ndarray::arr3(&[[[255, 0], [0, 9]]]));
        assert_eq!((data.usage(0), data.usage(1)), (Some(Usage::Training), Some(Usage::PrivateTest)));
    }
}

#[test]
fn files_without_usage_or_labels_are_read_as_such() {
    let train = open("emotion,pixels\n3,1 2 3 4\n");
    assert_eq!((train.label(0), train.usage(0)), (Some(3), None));
    let test = open("pixels\n1 2 3 4\n5 6 7 8\n");
    assert_eq!((test.labels(), test.usage(0), test.len()), (None, None, 2));
    assert!(test.encoder().is_empty());
    assert!(test.select(&[3]).unwrap_err().to_string().ends_with(": no labels"));
}

#[test]
fn wrong_headers_name_the_column() {
    let empty = "line 1: the file is empty; expected a header, such as `emotion,pixels,Usage`";
    assert_eq!(error(""), empty);
    assert_eq!(error(gzip(b"")), empty);
    assert_eq!(error("emotion,Usage\n"), "line 1: no column `pixels`; found `emotion`, `Usage`");
    assert_eq!(error("pixels,Usage\n"), "line 1: no column `emotion`; found `pixels`, `Usage`");
    assert_eq!(
        error(format!("0,{},Training\n", pixels(2304))),
        "line 1: no column `pixels`; found `0`, `0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16…`, `Training`"
    );
    assert!(error("Usage,Image name,neutral,happiness,NF\n").contains("these are the votes of FER+"));
    let no_rows = "line 2: the file ends after its header; expected at least one row";
    assert_eq!(error("emotion,pixels,Usage"), no_rows);
    assert_eq!(error("emotion,pixels,Usage\r\n"), no_rows);
}

#[test]
fn wrong_rows_say_the_line_what_was_found_and_what_is_allowed() {
    let good = format!("3,{},Training", pixels(2304));
    // Blank lines and CRLF do not move the number of a line.
    let after_good = |row: &str| error(format!("emotion,pixels,Usage\n{good}\r\n\n{row}\n{good}\n"));
    let row = |label: &str, pixels: &str, usage: &str| after_good(&format!("{label},{pixels},{usage}"));
    let pixels = pixels(2304);

    assert_eq!(
        row("x", &pixels, "Training"),
        "line 4: emotion is `x`; allowed: 0 to 6, or anger, disgust, fear, happy, sad, surprise, neutral"
    );
    assert_eq!(
        row("7", &pixels, "Training"),
        "line 4: emotion is `7`; allowed: 0 to 6, or anger, disgust, fear, happy, sad, surprise, neutral"
    );
    assert_eq!(
        row("-1", &pixels, "Training"),
        "line 4: emotion is `-1`; allowed: 0 to 6, or anger, disgust, fear, happy, sad, surprise, neutral"
    );
    assert_eq!(
        row("", &pixels, "Training"),
        "line 4: emotion is ``; allowed: 0 to 6, or anger, disgust, fear, happy, sad, surprise, neutral"
    );
    assert_eq!(
        row("3", &pixels, "training"),
        "line 4: Usage is `training`; allowed: Training, PublicTest, PrivateTest"
    );
    let size = "pixels; allowed: 2304 (48×48, as the first image)";
    assert_eq!(row("3", &pixels[2..], "Training"), format!("line 4: 2303 {size}"));
    assert_eq!(row("3", &format!("{pixels} 1"), "Training"), format!("line 4: 2305 {size}"));
    assert_eq!(row("3", "1 2 3 4", "Training"), format!("line 4: 4 {size}"));
    assert_eq!(row("3", "", "Training"), format!("line 4: 0 {size}"));
    for wrong in ["256", "12a", "-1", "+1", "1.0", "0255", "é"] {
        assert_eq!(
            row("3", &pixels.replacen(" 2 ", &format!(" {wrong} "), 1), "Training"),
            format!("line 4: pixel 3 of 2304 is `{wrong}`; allowed: 0 to 255")
        );
    }
    assert_eq!(after_good("3"), "line 4: 1 fields; allowed: 3, as in the header");
    assert_eq!(after_good(&format!("{good},")), "line 4: 4 fields; allowed: 3, as in the header");
    assert_eq!(
        after_good(&format!("3,\"{pixels},Training")),
        "line 4: a quoted field that does not end with a quote on this line"
    );
    let invalid = [b"emotion,pixels,Usage\n3,1,Training\n3,\xff".as_slice(), b",Training\n"].concat();
    assert_eq!(error(invalid), "line 3: invalid UTF-8 at byte 3 of the line");
}

#[test]
fn a_first_image_must_be_square() {
    let text = format!("emotion,pixels\n3,{}\n", pixels(2303));
    assert_eq!(error(text), "line 2: 2303 pixels, which is no square image (48×48 has 2304)");
    assert_eq!(error("pixels\n \"\"\n"), "line 2: 0 pixels, which is no square image (48×48 has 2304)");
}

#[test]
fn truncated_archives_say_where_they_break() {
    // Pixels that do not compress well, so that a cut leaves whole rows before it.
    let noise = |row: usize| {
        let pixel = |i: usize| (i.wrapping_mul(2_654_435_761 + row) >> 7 & 255).to_string();
        (0..2304).map(pixel).collect::<Vec<_>>().join(" ")
    };
    let rows: String = (0..40).map(|row| format!("3,{},Training\n", noise(row))).collect();
    let text = format!("emotion,pixels,Usage\n{rows}");
    for archive in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap()] {
        for cut in [archive.len() / 2, archive.len() - 3] {
            let error = error(&archive[..cut]);
            let line: u64 = error["line ".len()..].split(':').next().unwrap().parse().unwrap();
            assert!((1..=42).contains(&line), "{error}");
            assert!(error.contains("reading failed: "), "{error}");
            assert!(error.ends_with("; is the file complete?"), "{error}");
        }
    }
    assert!(error(&gzip(text.as_bytes())[..5]).starts_with("line 1: reading failed"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Dataset::open(Path::new("no/such/file.csv")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.csv: "), "{error}");
}

#[test]
fn an_endless_line_is_refused_in_time() {
    let started = Instant::now();
    let zeros = zstd::encode_all(std::io::repeat(b'1').take(1 << 30), 1).unwrap();
    assert_eq!(error(zeros), "line 1: a line of more than 16777216 bytes");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_error_keeps_what_the_system_said() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, format!("pixels\n{}", "1 2 3 4\n".repeat(9999)).as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &whole[..whole.len() / 2]).unwrap();
    let error = Dataset::open(file.path()).unwrap_err();
    assert!(error.to_string().contains("reading failed"), "{error:?}");
    let source = std::error::Error::source(&error).and_then(std::error::Error::source).unwrap();
    assert_eq!(source.downcast_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::UnexpectedEof);
}
