//! From a socket to requests.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsConfig;
use crate::{Error, Result};

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after the system gave no connection, when it has no more files for example.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket at this address.
pub(crate) fn bind(address: SocketAddr) -> Result<StdListener> {
    let bound = StdListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| Error::Listen { address, source })
}

/// What encrypts.
pub(crate) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor> {
    let refuse = |path: &Path, problem: String| Error::Tls { path: path.to_owned(), problem };
    let read = |path: &Path| std::fs::read(path).map_err(|e| refuse(path, e.to_string()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&config.cert)?)
        .collect::<Result<_, _>>()
        .map_err(|e| refuse(&config.cert, format!("no PEM certificate: {e}")))?;
    if chain.is_empty() {
        return Err(refuse(&config.cert, "no PEM certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&config.key)?)
        .map_err(|e| refuse(&config.key, format!("no PEM private key: {e}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| refuse(&config.key, e.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers until `stop` is true, and then what is under way, for at most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    connections: usize,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let free = Arc::new(Semaphore::new(connections));
    loop {
        let (stream, permit) = tokio::select! {
            accepted = accept(&listener, &free) => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("no connection: {e}");
                    sleep(PAUSE).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let (tls, app, stop) = (tls.clone(), app.clone(), stop.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(TokioIo::new(stream), app, stop).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                        connection(TokioIo::new(stream), app, stop).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(grace, free.acquire_many(connections as u32)).await.is_err() {
        tracing::warn!("requests were under way for too long and were left");
    }
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = free.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

/// A connection to its end. What goes wrong with one concerns nobody but its client, who has gone.
async fn connection(
    io: impl Read + Write + Unpin + Send + 'static,
    app: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(io, TowerToHyperService::new(app))
            .with_upgrades()
    );
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Waits until the service ends.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the server is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
