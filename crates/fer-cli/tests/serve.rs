//! `fer serve` from its first line to its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

fn fer(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fer"));
    command.arg("serve").args(args).env_remove("FER_TOKEN");
    command
}

fn refused(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

#[cfg(unix)]
#[test]
fn it_says_where_it_is_and_ends_when_asked() {
    let mut process = fer(&["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    let kill = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_missing_for_other_machines_is_said() {
    let open = ["--listen", "0.0.0.0:0"];
    assert!(refused(&mut fer(&open)).contains("a token"));
    assert!(refused(fer(&open).env("FER_TOKEN", "short")).contains("at least 16"));
    assert!(refused(fer(&open).env("FER_TOKEN", "0123456789abcdef")).contains("a certificate"));
    let missing = refused(&mut fer(&["--token-file", "no/such/token"]));
    assert!(missing.contains("no/such/token"), "{missing}");
    let missing = refused(&mut fer(&["--tls-cert", "no/such/cert.pem", "--tls-key", "no/such/key.pem"]));
    assert!(missing.contains("no/such/cert.pem"), "{missing}");
}

#[test]
fn what_is_refused_is_called_by_its_flag() {
    let cases: [(&[&str], &str); 4] = [
        (&["--max-under-way", "0"], "--max-under-way is 0"),
        (&["--max-all-bytes", "5"], "--max-all-bytes is 5; allowed: at least --max-bytes"),
        (&["--timeout", "0"], "--timeout is 0"),
        (&["--listen", "0.0.0.0:0"], "--listen is 0.0.0.0:0; allowed: other machines only with a token"),
    ];
    for (args, message) in cases {
        let said = refused(&mut fer(args));
        assert!(said.contains(message), "{said}");
    }
}
