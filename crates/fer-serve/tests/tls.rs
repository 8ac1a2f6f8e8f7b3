//! HTTPS.

mod client;

use std::net::TcpStream;
use std::sync::Arc;

use client::Client;
use fer_serve::fer::Recognizer;
use fer_serve::{About, Error, ServeConfig, Server, TlsConfig};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn start(tls: TlsConfig) -> Result<Server, Error> {
    let token = Some("0123456789abcdef".to_owned());
    let config =
        ServeConfig { listen: "0.0.0.0:0".parse().unwrap(), token, tls: Some(tls), ..ServeConfig::default() };
    Server::start(Recognizer::pretrained().unwrap(), &About::default(), &config)
}

#[test]
fn other_machines_ask_over_https_with_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = start(TlsConfig { cert: cert.clone(), key: key.clone() }).unwrap();
    assert_eq!(server.url(), format!("https://localhost:{}/", server.address().port()));

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", server.address().port())).unwrap();
    let mut client = Client::over(StreamOwned::new(tls, stream));
    assert_eq!(client.get("/").unwrap().status, 200);
    assert_eq!(client.get("/health").unwrap().status, 200);
    let refused = client.get("/v1/model").unwrap();
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    let shown = client.ask("GET", "/v1/model", "authorization: Bearer 0123456789abcdef\r\n", b"").unwrap();
    assert_eq!(shown.status, 200);

    // Plain HTTP at the same port gets nothing.
    let mut plain = Client::connect(([127, 0, 0, 1], server.address().port()).into()).unwrap();
    assert!(plain.get("/health").is_err());

    // The key of another certificate, and files that are none.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other_key = folder.path().join("other.pem");
    std::fs::write(&other_key, other.signing_key.serialize_pem()).unwrap();
    for (wrong, named) in [
        (TlsConfig { cert: cert.clone(), key: other_key.clone() }, "other.pem"),
        (TlsConfig { cert: key.clone(), key: key.clone() }, "key.pem"),
        (TlsConfig { cert: cert.clone(), key: cert.clone() }, "cert.pem"),
        (TlsConfig { cert, key: folder.path().join("missing.pem") }, "missing.pem"),
    ] {
        let error = start(wrong).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
