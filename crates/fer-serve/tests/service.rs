//! What clients are answered.

mod client;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use client::{Answer, Client};
use fer_serve::fer::Recognizer;
use fer_serve::{About, Limits, ServeConfig, Server};
use serde_json::Value;

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fer-detect/tests/photos");

fn photo(name: &str) -> Vec<u8> {
    std::fs::read(format!("{PHOTOS}/{name}")).unwrap()
}

/// A service on a free port.
fn start(config: ServeConfig) -> Server {
    let about = About { name: "shipped".into(), card: Some("# Card".into()) };
    let config = ServeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config };
    Server::start(Recognizer::pretrained().unwrap(), &about, &config).unwrap()
}

fn limited(limits: Limits) -> Server {
    start(ServeConfig { limits, ..ServeConfig::default() })
}

fn json(answer: &Answer) -> Value {
    assert!(answer.header("content-type").unwrap().starts_with("application/json"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// The code of an error, which has a message too.
fn code(answer: &Answer) -> (u16, String) {
    let error = &json(answer)["error"];
    assert!(!error["message"].as_str().unwrap().is_empty());
    (answer.status, error["code"].as_str().unwrap().to_owned())
}

/// A form of files.
fn form(files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head =
            format!("--edge\r\ncontent-disposition: form-data; name=\"p\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    ("content-type: multipart/form-data; boundary=edge\r\n".into(), body)
}

#[test]
fn a_picture_is_answered_as_the_library_answers() {
    let server = start(ServeConfig::default());
    let mut client = Client::connect(server.address()).unwrap();
    let picture = photo("astronaut.png");
    let answer = client.post("/v1/predict", &picture).unwrap();
    assert_eq!(answer.status, 200);
    let library = Recognizer::pretrained().unwrap();
    let faces = library.recognize(&image::load_from_memory(&picture).unwrap()).unwrap();
    let expected = format!("{{\"source\":\"body\",\"faces\":{}}}", serde_json::to_string(&faces).unwrap());
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    assert_eq!(json(&answer)["faces"][0]["label"], "happy");

    // Without a search the whole picture is the face.
    let whole = json(&client.post("/v1/predict?detect=false", &picture).unwrap());
    assert_eq!(whole["faces"][0]["box"], serde_json::json!([0.0, 0.0, 512.0, 512.0]));
    // A picture without faces has none.
    assert_eq!(
        json(&client.post("/v1/predict", &photo("coffee.png")).unwrap())["faces"],
        serde_json::json!([])
    );
}

#[test]
fn faces_are_explained() {
    let server = start(ServeConfig::default());
    let mut client = Client::connect(server.address()).unwrap();
    let picture = photo("astronaut.png");
    let face = json(&client.post("/v1/explain", &picture).unwrap())["faces"][0].clone();
    let explanation = &face["explanation"];
    assert_eq!(explanation["label"], face["label"]);
    let (width, height) =
        (explanation["map"]["width"].as_u64().unwrap(), explanation["map"]["height"].as_u64().unwrap());
    let values: Vec<f64> =
        explanation["map"]["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(values.len() as u64, width * height);
    assert_eq!(values.iter().copied().fold(0.0, f64::max), 1.0);
    // What the network saw lies around the box.
    let (area, bounds) = (&explanation["area"], &face["box"]);
    let middle = bounds[0].as_f64().unwrap() + bounds[2].as_f64().unwrap() / 2.0;
    assert!((area["center"][0].as_f64().unwrap() - middle).abs() < 20.0, "{area} {bounds}");
    let sad = json(&client.post("/v1/explain?label=sad", &picture).unwrap());
    assert_eq!(sad["faces"][0]["explanation"]["label"], "sad");
    let unknown = client.post("/v1/explain?label=joy", &picture).unwrap();
    assert_eq!(code(&unknown), (400, "bad_request".into()));
    assert!(json(&unknown)["error"]["message"].as_str().unwrap().contains("happy, sad"));
}

#[test]
fn a_form_answers_each_picture_and_says_which_cannot_be_read() {
    let server = limited(Limits { pictures: 3, ..Limits::default() });
    let mut client = Client::connect(server.address()).unwrap();
    let (astronaut, coffee) = (photo("astronaut.png"), photo("coffee.png"));
    let (head, body) = form(&[("a.png", &astronaut), ("b.txt", b"no picture"), ("c.png", &coffee)]);
    let answer = client.ask("POST", "/v1/predict", &head, &body).unwrap();
    let pictures = json(&answer)["pictures"].clone();
    assert_eq!(pictures[0]["source"], "a.png");
    assert_eq!(pictures[0]["faces"][0]["label"], "happy");
    assert!(pictures[1]["error"].as_str().unwrap().contains("no picture"), "{pictures}");
    assert_eq!(pictures[2], serde_json::json!({ "source": "c.png", "faces": [] }));

    let (head, body) = form(&[("1", &coffee), ("2", &coffee), ("3", &coffee), ("4", &coffee)]);
    assert_eq!(code(&client.ask("POST", "/v1/predict", &head, &body).unwrap()), (413, "too_large".into()));
    let mut client = Client::connect(server.address()).unwrap();
    let (head, body) = form(&[]);
    assert_eq!(code(&client.ask("POST", "/v1/predict", &head, &body).unwrap()).0, 422);
    let mut client = Client::connect(server.address()).unwrap();
    let broken = client.ask("POST", "/v1/predict", &head, b"--edge\r\nno form");
    assert_eq!(code(&broken.unwrap()).0, 400);
}

#[test]
fn what_cannot_be_answered_is_said() {
    let limits = Limits { bytes: 1_000_000, pixels: 300_000, ..Limits::default() };
    let server = limited(limits);
    let ask = |method: &str, path: &str, headers: &str, body: &[u8]| {
        let mut client = Client::connect(server.address()).unwrap();
        code(&client.ask(method, path, headers, body).unwrap())
    };
    let post = |path: &str, body: &[u8]| ask("POST", path, "", body);
    let jpeg = photo("rocket.jpg");
    assert_eq!(post("/v1/predict", b""), (422, "no_picture".into()));
    assert_eq!(post("/v1/predict", b"<html>"), (422, "no_picture".into()));
    assert_eq!(post("/v1/predict", &jpeg[..jpeg.len() / 2]), (422, "no_picture".into()));
    assert_eq!(post("/v1/predict", &photo("astronaut.png")[..400_000]), (422, "no_picture".into()));
    assert_eq!(post("/v1/predict", &[0; 1_000_001]), (413, "too_large".into()));
    let mut wide = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(600, 501).write_to(&mut wide, image::ImageFormat::Png).unwrap();
    assert_eq!(post("/v1/predict", wide.get_ref()), (413, "too_large".into()));
    assert_eq!(post("/v1/predict?detect=perhaps", &jpeg), (400, "bad_request".into()));
    assert_eq!(post("/v1/predict?tilt=true", &jpeg), (400, "bad_request".into()));
    assert_eq!(post("/v1/predict?label=happy", &jpeg), (400, "bad_request".into()));
    assert_eq!(post("/v1/nothing", &jpeg), (404, "not_found".into()));
    assert_eq!(ask("GET", "/v1/predict", "", b""), (405, "method".into()));
    assert_eq!(ask("POST", "/health", "", b""), (405, "method".into()));
    assert_eq!(ask("GET", "/v1/live", "", b""), (400, "no_web_socket".into()));
    assert_eq!(ask("POST", "/v1/predict", "host: evil.example\r\n", &jpeg), (421, "host".into()));
    assert_eq!(ask("POST", "/v1/predict", "origin: http://evil.example\r\n", &jpeg), (403, "origin".into()));

    let mut client = Client::connect(server.address()).unwrap();
    let cut = client.post("/v1/predict?allow_truncated=true", &jpeg[..jpeg.len() / 2]).unwrap();
    assert_eq!(cut.status, 200);
}

#[test]
fn a_body_of_unknown_length_is_bounded_too() {
    let server = limited(Limits { bytes: 100_000, ..Limits::default() });
    let mut client = Client::connect(server.address()).unwrap();
    let head = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    for _ in 0..11 {
        // The service may have answered and closed.
        let _ = client.send(&[b"2710\r\n".as_slice(), &[0; 10_000], b"\r\n"].concat());
    }
    let _ = client.send(b"0\r\n\r\n");
    assert_eq!(code(&client.answer().unwrap()), (413, "too_large".into()));
}

#[test]
fn when_all_places_are_taken_others_are_refused_at_once() {
    let server = limited(Limits { under_way: 1, ..Limits::default() });
    let picture = photo("coffee.png");
    // A request whose body is still on its way holds the place.
    let mut first = Client::connect(server.address()).unwrap();
    let head =
        format!("POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", picture.len());
    first.send(head.as_bytes()).unwrap();
    first.send(&picture[..10]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut second = Client::connect(server.address()).unwrap();
    let begin = Instant::now();
    let refused = second.post("/v1/predict", &picture).unwrap();
    assert_eq!((code(&refused), refused.header("retry-after")), ((429, "busy".into()), Some("1")));
    assert!(begin.elapsed() < Duration::from_millis(500));
    first.send(&picture[10..]).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    // The place is free again, on the connection that was refused too.
    assert_eq!(second.post("/v1/predict", &picture).unwrap().status, 200);
}

#[test]
fn all_bytes_under_way_are_bounded() {
    let limits = Limits { bytes: 1_000_000, all_bytes: 1_000_000, ..Limits::default() };
    let server = limited(limits);
    let mut first = Client::connect(server.address()).unwrap();
    first.send(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut second = Client::connect(server.address()).unwrap();
    assert_eq!(code(&second.post("/v1/predict", &[0; 200_000]).unwrap()), (429, "busy".into()));
    drop(first);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(second.post("/v1/predict", &photo("coffee.png")).unwrap().status, 200);
}

#[test]
fn a_slow_client_is_left() {
    let server = limited(Limits { seconds: 0.5, under_way: 1, ..Limits::default() });
    let mut client = Client::connect(server.address()).unwrap();
    client
        .send(b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\nabc")
        .unwrap();
    assert_eq!(code(&client.answer().unwrap()), (503, "late".into()));
    let mut next = Client::connect(server.address()).unwrap();
    assert_eq!(next.post("/v1/predict?detect=false", &photo("coffee.png")).unwrap().status, 200);
}

#[test]
fn what_is_under_way_is_answered_before_the_end() {
    let server = start(ServeConfig::default());
    let (address, picture) = (server.address(), photo("astronaut.png"));
    let mut client = Client::connect(address).unwrap();
    let head =
        format!("POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", picture.len());
    client.send(head.as_bytes()).unwrap();
    client.send(&picture[..1000]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let stopping = std::thread::spawn(move || server.stop());
    std::thread::sleep(Duration::from_millis(200));
    assert!(Client::connect(address).is_err(), "it accepts nothing more");
    client.send(&picture[1000..]).unwrap();
    assert_eq!(json(&client.answer().unwrap())["faces"][0]["label"], "happy");
    stopping.join().unwrap();
}

#[test]
fn clients_at_once_get_their_own_answers() {
    let server = start(ServeConfig::default());
    let address = server.address();
    let photos = ["astronaut.png", "camera.png", "coffee.png", "chelsea.png"];
    let counts = [1, 1, 0, 0];
    let ask = |client: usize| {
        let mut connection = Client::connect(address).unwrap();
        for request in 0..4 {
            let which = (client + request) % photos.len();
            let answer = connection.post("/v1/predict", &photo(photos[which])).unwrap();
            assert_eq!(json(&answer)["faces"].as_array().unwrap().len(), counts[which], "{}", photos[which]);
        }
    };
    std::thread::scope(|scope| {
        for client in 0..12 {
            scope.spawn(move || ask(client));
        }
    });
    let mut client = Client::connect(address).unwrap();
    let metrics = String::from_utf8(client.get("/metrics").unwrap().body).unwrap();
    assert!(metrics.contains("fer_requests_total{route=\"/v1/predict\",status=\"200\"} 48"), "{metrics}");
    assert!(metrics.contains("fer_faces_total 24"), "{metrics}");
    assert!(metrics.contains("fer_pictures_under_way 0"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn it_tells_of_itself() {
    let server = start(ServeConfig::default());
    let mut client = Client::connect(server.address()).unwrap();
    let model = json(&client.get("/v1/model").unwrap());
    assert_eq!((model["name"].as_str(), model["card"].as_str()), (Some("shipped"), Some("# Card")));
    assert_eq!(model["labels"].as_array().unwrap().len(), 8);
    assert_eq!(model["input"], serde_json::json!({ "channels": 1, "height": 48, "width": 48 }));
    assert_eq!(json(&client.get("/health").unwrap())["status"], "ok");
    let openapi = json(&client.get("/openapi.json").unwrap());
    let label = openapi["paths"]["/v1/explain"]["post"]["parameters"][2].clone();
    assert_eq!((label["name"].as_str(), &label["schema"]["enum"]), (Some("label"), &model["labels"]));
    let page = client.get("/").unwrap();
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let page = String::from_utf8(page.body).unwrap();
    for part in page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert_eq!(client.get(&format!("/{part}")).unwrap().status, 200, "{part}");
    }
}

#[test]
fn bytes_that_are_no_requests_end_nothing() {
    let server = limited(Limits { seconds: 0.5, ..Limits::default() });
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(600_000));
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "a: b\r\n".repeat(500));
    let hostile: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in hostile {
        let mut client = Client::connect(server.address()).unwrap();
        let _ = client.send(bytes);
        if let Ok(answer) = client.answer() {
            assert!((400..500).contains(&answer.status) || answer.status == 503, "{answer:?}");
        }
    }
    let mut client = Client::connect(server.address()).unwrap();
    assert_eq!(client.get("/health").unwrap().status, 200);
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = held.local_addr().unwrap();
    let config = ServeConfig { listen, ..ServeConfig::default() };
    let error = Server::start(Recognizer::pretrained().unwrap(), &About::default(), &config).unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
