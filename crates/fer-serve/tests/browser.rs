//! The page in a browser, with a camera that shows a film.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod chromium;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chromium::Browser;
use fer_serve::fer::Recognizer;
use fer_serve::{About, ServeConfig, Server};
use image::{ExtendedColorType, RgbImage, codecs::jpeg::JpegEncoder, imageops};

/// How long the camera runs, in seconds.
const SECONDS: u64 = 30;

fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fer-detect/tests/photos")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// A face that moves to and fro before a room.
fn film(path: &Path) {
    let face = imageops::resize(
        &image::open(photo("astronaut.png")).unwrap().to_rgb8(),
        440,
        440,
        imageops::FilterType::Triangle,
    );
    let mut all = Vec::new();
    for frame in 0..120_i64 {
        let mut picture = RgbImage::from_pixel(640, 480, image::Rgb([70, 80, 90]));
        imageops::overlay(&mut picture, &face, 40 + 2 * (frame - 60).abs(), 40);
        JpegEncoder::new_with_quality(&mut all, 80)
            .encode(&picture, 640, 480, ExtendedColorType::Rgb8)
            .unwrap();
    }
    std::fs::write(path, all).unwrap();
}

fn start(port: u16) -> Server {
    let about =
        About { name: "fer-weights".into(), card: Some(fer_serve::fer::model::PRETRAINED_CARD.into()) };
    let config = ServeConfig { listen: ([127, 0, 0, 1], port).into(), ..ServeConfig::default() };
    Server::start(Recognizer::pretrained().unwrap(), &about, &config).unwrap()
}

const ANSWERS: &str = "Number(document.documentElement.dataset.answers)";
const HAPPY: &str = "document.querySelector('.face[data-label=\"happy\"]') !== null";
const READY: &str = "document.querySelector('#status').textContent === 'Ready.'";
const OPEN: &str = "document.documentElement.dataset.socket === 'open'";
/// How much of what is drawn over a picture is half-transparent and warm: the tint of Grad-CAM.
const TINTED: &str = "(() => {
    const { width, height } = document.querySelector('#overlay');
    const pixels = document.querySelector('#overlay').getContext('2d').getImageData(0, 0, width, height).data;
    let warm = 0;
    for (let i = 0; i < pixels.length; i += 4) {
        const [red, , blue, alpha] = pixels.subarray(i, i + 4);
        if (red > blue + 80 && alpha > 20 && alpha < 200) warm += 1;
    }
    return warm / (width * height);
})()";

#[test]
fn the_page_shows_what_the_camera_sees() {
    let Some(program) = chromium::find() else {
        println!("skipped: there is no Chromium");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let camera = folder.path().join("camera.mjpeg");
    film(&camera);
    let mut server = start(0);
    let mut browser = Browser::start(&program, &folder.path().join("profile"), &camera);
    browser.show(1280, 1000, "light");
    browser.open(&server.url());
    browser.wait(READY);
    browser.screenshot("empty");

    // The camera, for a while: the same face all the time, and answers that keep coming.
    browser.click("#camera");
    browser.wait(HAPPY);
    let begin = Instant::now();
    let mut answers = browser.get(ANSWERS).as_u64().unwrap();
    while begin.elapsed() < Duration::from_secs(SECONDS) {
        std::thread::sleep(Duration::from_secs(3));
        let now = browser.get(ANSWERS).as_u64().unwrap();
        assert!(now > answers, "no answer in 3 s after {answers}");
        answers = now;
    }
    assert_eq!(browser.get("document.querySelectorAll('.face:not(.away)').length"), 1);
    assert_eq!(browser.get("document.documentElement.dataset.source"), "camera");
    assert!(browser.get("document.querySelector('#said').textContent").as_str().unwrap().contains("happy"));
    browser.screenshot("camera");
    let rate = browser.get("document.querySelector('#rate').textContent");
    let latency = browser.get("document.querySelector('#latency').textContent");
    println!("{answers} answers, {rate} frames a second, latency {latency}");

    // Grad-CAM over it, in the dark, and on a telephone.
    browser.click("#explain");
    assert_eq!(browser.get("document.querySelector('#explain').getAttribute('aria-pressed')"), "true");
    let more = answers + 5;
    browser.wait(&format!("{ANSWERS} > {more}"));
    browser.show(1280, 1000, "dark");
    browser.screenshot("explained_dark");
    browser.show(360, 740, "light");
    assert_eq!(browser.get("document.documentElement.scrollWidth <= 360"), true);
    browser.screenshot("narrow");
    browser.show(1280, 1000, "light");
    assert_eq!(browser.errors(), Vec::<String>::new());

    // The service goes away and comes back.
    let port = server.address().port();
    server.stop();
    browser.wait("document.documentElement.dataset.socket !== 'open'");
    browser.screenshot("away");
    server = start(port);
    browser.wait(OPEN);
    let answers = browser.get(ANSWERS).as_u64().unwrap();
    browser.wait(&format!("{ANSWERS} > {answers} + 5 && {HAPPY}"));
    // The browser itself says that the service could not be reached.
    let unexpected: Vec<String> = browser
        .errors()
        .into_iter()
        .filter(|e| !e.contains("net::ERR_") && !e.contains("WebSocket"))
        .collect();
    assert_eq!(unexpected, Vec::<String>::new());

    // A reload, and a picture.
    browser.open(&server.url());
    browser.wait(READY);
    browser.choose("#file", &photo("astronaut.png"));
    browser.wait(HAPPY);
    assert_eq!(browser.get("document.documentElement.dataset.source"), "picture");
    let bare = browser.get(TINTED).as_f64().unwrap();
    browser.click("#explain");
    browser.wait("!document.querySelector('#status').textContent.includes('…')");
    std::thread::sleep(Duration::from_secs(1));
    let tinted = browser.get(TINTED).as_f64().unwrap();
    println!("{bare:.4} of the picture is tinted, explained {tinted:.4}");
    assert!(tinted > bare + 0.01, "{bare} of the picture is tinted, explained {tinted}");
    browser.screenshot("picture");
    browser.choose("#file", &PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")));
    browser.wait("document.querySelector('#status').textContent.includes('neither a picture nor a video')");
    browser.screenshot("no_picture");
    assert_eq!(browser.errors(), Vec::<String>::new());
    server.stop();
}
