//! The service as a whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fer::Recognizer;
use fer::model::{Input, Preprocessing};
use fer_picture::Decoder;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::access::Access;
use crate::body::PERMIT;
use crate::config::{Limits, ServeConfig};
use crate::metrics::Metrics;
use crate::state::{Shared, State};
use crate::{Result, judge, listen, routes};

/// Threads that read and write; the judge has rayon's.
const IO_THREADS: usize = 2;
/// What a request under way may take longer than its time, while its answer is written.
const WRITING: Duration = Duration::from_secs(2);

/// What clients are told of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its card, Markdown.
    pub card: Option<String>,
}

/// A running service. Dropping it ends it, as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts answering by this recognizer, on threads of its own. The calculations run on rayon's threads.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for what is not allowed, [`Error::Tls`](crate::Error::Tls) for a certificate or key
    /// that cannot be used, [`Error::Listen`](crate::Error::Listen) when the address cannot be listened on,
    /// [`Error::Threads`](crate::Error::Threads) when there are no threads.
    pub fn start(recognizer: Recognizer, about: &About, config: &ServeConfig) -> Result<Self> {
        config.validate()?;
        let limits = config.limits;
        let tls = config.tls.as_ref().map(listen::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = listen::bind(config.listen)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(Metrics::new());
        let labels = recognizer.labels().to_vec();
        let (model, openapi) = (model(&recognizer, about), openapi(&labels));
        let decoder = Decoder { max_pixels: limits.pixels, ..Decoder::default() };
        let (judge, judging) = judge::start(recognizer, decoder, metrics.clone())?;
        let shared = Arc::new(State {
            limits,
            access: Access { hosts: config.hosts.clone(), token: config.token.clone() },
            labels,
            model,
            openapi,
            metrics,
            judge,
            slots: Arc::new(Semaphore::new(limits.under_way)),
            memory: Arc::new(Semaphore::new(limits.all_bytes.div_ceil(PERMIT))),
            streams: Arc::new(Semaphore::new(limits.streams)),
            stop: stopped.clone(),
        });
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let serve = move || {
            run(runtime, async move {
                let app = routes::router(shared.clone());
                let grace = Duration::from_secs_f64(limits.seconds) + WRITING;
                listen::serve(listener, tls, app, limits.connections, stopped, grace).await;
                finish_streams(&shared, limits).await;
            })
        };
        let serving = std::thread::Builder::new().name("serve".into()).spawn(serve)?;
        Ok(Self { address, scheme, stop, threads: vec![serving, judging] })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page, as a browser on this machine takes it.
    pub fn url(&self) -> String {
        let Self { address, scheme, .. } = self;
        match address.ip().is_unspecified() {
            true => format!("{scheme}://localhost:{}/", address.port()),
            false => format!("{scheme}://{address}/"),
        }
    }

    /// Accepts nothing more, answers what is under way, and ends.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

fn run(runtime: Runtime, work: impl Future<Output = ()>) {
    runtime.block_on(work);
    runtime.shutdown_timeout(WRITING);
}

/// Waits until the streams have said goodbye.
async fn finish_streams(shared: &Shared, limits: Limits) {
    let _ = timeout(WRITING, shared.streams.acquire_many(limits.streams as u32)).await;
}

/// The description, with the labels that may be explained.
fn openapi(labels: &[String]) -> String {
    let labels = serde_json::to_string(labels).unwrap_or_default();
    include_str!("openapi.json").replacen(r#""LABELS""#, labels.trim_matches(['[', ']']), 1)
}

/// The answer to `GET /v1/model`.
fn model(recognizer: &Recognizer, about: &About) -> String {
    #[derive(Serialize)]
    struct Model<'a> {
        name: &'a str,
        version: &'a str,
        labels: &'a [String],
        input: Input,
        preprocessing: Preprocessing,
        card: Option<&'a str>,
    }
    let classifier = recognizer.classifier();
    let model = Model {
        name: &about.name,
        version: env!("CARGO_PKG_VERSION"),
        labels: classifier.labels(),
        input: classifier.input(),
        preprocessing: classifier.preprocessing(),
        card: about.card.as_deref(),
    };
    // Names and numbers are always written.
    serde_json::to_string(&model).unwrap_or_default()
}
