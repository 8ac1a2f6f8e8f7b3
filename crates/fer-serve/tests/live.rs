//! Streams of frames.

use std::net::TcpStream;
use std::time::Duration;

use fer_serve::fer::Recognizer;
use fer_serve::{About, Limits, ServeConfig, Server};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

fn photo(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../fer-detect/tests/photos/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn start(config: ServeConfig) -> Server {
    let config = ServeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config };
    Server::start(Recognizer::pretrained().unwrap(), &About::default(), &config).unwrap()
}

/// A stream, or the status of a refusal.
fn open(server: &Server, headers: &[(&'static str, &str)]) -> Result<(WebSocket<TcpStream>, Response), u16> {
    let mut request = format!("ws://{}/v1/live", server.address()).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    tungstenite::client(request, stream).map_err(|e| match e {
        HandshakeError::Failure(Error::Http(response)) => response.status().as_u16(),
        e => panic!("{e}"),
    })
}

/// The next text as JSON.
fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn frames_are_answered_and_faces_keep_their_number() {
    let server = start(ServeConfig::default());
    let (mut socket, _) = open(&server, &[]).unwrap();
    let frame = photo("astronaut.png");
    for number in 1..=3 {
        socket.send(Message::binary(frame.clone())).unwrap();
        let answer = next(&mut socket);
        assert_eq!(answer["frame"], number);
        assert!(answer["milliseconds"].as_f64().unwrap() > 0.0);
        let face = &answer["faces"][0];
        assert_eq!((face["id"].as_u64(), face["label"].as_str()), (Some(0), Some("happy")));
        assert!(face.get("explanation").is_none());
    }
    socket.send(Message::text(r#"{"explain":true}"#)).unwrap();
    socket.send(Message::binary(frame)).unwrap();
    assert_eq!(next(&mut socket)["faces"][0]["explanation"]["label"], "happy");
}

#[test]
fn what_is_no_frame_is_said_and_the_stream_goes_on() {
    let server = start(ServeConfig::default());
    let (mut socket, _) = open(&server, &[]).unwrap();
    socket.send(Message::binary(b"no picture".to_vec())).unwrap();
    let answer = next(&mut socket);
    assert_eq!((answer["frame"].as_u64(), answer["error"]["code"].as_str()), (Some(1), Some("no_picture")));
    for wrong in ["explain", r#"{"explain":1}"#, r#"{"smooth":1}"#] {
        socket.send(Message::text(wrong)).unwrap();
        assert_eq!(next(&mut socket)["error"]["code"], "bad_request", "{wrong}");
    }
    socket.send(Message::binary(photo("coffee.png"))).unwrap();
    let answer = next(&mut socket);
    assert_eq!((answer["frame"].as_u64(), answer["faces"].as_array().unwrap().len()), (Some(2), 0));
}

#[test]
fn of_frames_that_wait_the_newest_is_looked_at() {
    let server = start(ServeConfig::default());
    let (mut socket, _) = open(&server, &[]).unwrap();
    let frame = photo("astronaut.png");
    for _ in 0..40 {
        socket.send(Message::binary(frame.clone())).unwrap();
    }
    let mut answered = vec![next(&mut socket)["frame"].as_u64().unwrap()];
    while answered.last() != Some(&40) {
        answered.push(next(&mut socket)["frame"].as_u64().unwrap());
    }
    assert!(answered.is_sorted() && answered.len() < 40, "{answered:?}");
}

#[test]
fn a_frame_that_is_too_large_ends_the_stream_alone() {
    let limits = Limits { bytes: 500_000, ..Limits::default() };
    let server = start(ServeConfig { limits, ..ServeConfig::default() });
    let (mut socket, _) = open(&server, &[]).unwrap();
    let _ = socket.send(Message::binary(vec![0; 600_000]));
    let end = std::iter::repeat_with(|| socket.read()).find(|read| !matches!(read, Ok(Message::Ping(_))));
    assert!(matches!(end, Some(Err(_) | Ok(Message::Close(_)))), "{end:?}");
    let (mut socket, _) = open(&server, &[]).unwrap();
    socket.send(Message::binary(photo("coffee.png"))).unwrap();
    assert_eq!(next(&mut socket)["frame"], 1);
}

#[test]
fn streams_are_bounded_and_guarded() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let token = Some("0123456789abcdef".to_owned());
    let server = start(ServeConfig { limits, token, ..ServeConfig::default() });
    assert_eq!(open(&server, &[]).unwrap_err(), 401);
    let shown = [("sec-websocket-protocol", "fer, fer.token.0123456789abcdef")];
    let elsewhere = [shown[0], ("origin", "http://evil.example")];
    assert_eq!(open(&server, &elsewhere).unwrap_err(), 403);
    let (socket, response) = open(&server, &shown).unwrap();
    // The token is not sent back.
    assert_eq!(response.headers()["sec-websocket-protocol"], "fer");
    assert_eq!(open(&server, &shown).unwrap_err(), 429);
    drop(socket);
    let again = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        open(&server, &shown).ok()
    });
    assert!(again.is_some(), "a closed stream gives its place back");
}

#[test]
fn the_end_of_the_service_is_said() {
    let server = start(ServeConfig::default());
    let (mut socket, _) = open(&server, &[]).unwrap();
    socket.send(Message::binary(photo("coffee.png"))).unwrap();
    next(&mut socket);
    let stopping = std::thread::spawn(move || server.stop());
    let close = loop {
        match socket.read().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            _ => continue,
        }
    };
    assert_eq!(close.code, CloseCode::Away);
    stopping.join().unwrap();
}
