//! What is counted, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    /// Pictures that were judged together.
    pub batch: Histogram,
    /// Faces that were found.
    pub faces: Counter,
    /// Frames of streams that were answered.
    pub answered: Counter,
    /// Frames of streams for which a newer one came.
    pub dropped: Counter,
    under_way: Gauge,
    streams: Gauge,
    memory: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let seconds: fn() -> Histogram =
            || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let mut all = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            batch: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
            faces: Counter::default(),
            answered: Counter::default(),
            dropped: Counter::default(),
            under_way: Gauge::default(),
            streams: Gauge::default(),
            memory: Gauge::default(),
        };
        let registry = &mut all.registry;
        registry.register("fer_requests", "Requests by route and status", all.requests.clone());
        let help = "Time from the head of a request to that of its answer";
        registry.register_with_unit("fer_request", help, Unit::Seconds, all.seconds.clone());
        registry.register("fer_batch_pictures", "Pictures that were judged together", all.batch.clone());
        registry.register("fer_faces", "Faces found", all.faces.clone());
        registry.register(
            "fer_frames_answered",
            "Frames of streams that were answered",
            all.answered.clone(),
        );
        registry.register("fer_frames_dropped", "Frames passed over for a newer one", all.dropped.clone());
        registry.register(
            "fer_pictures_under_way",
            "Pictures waiting or being judged",
            all.under_way.clone(),
        );
        registry.register("fer_streams", "Open streams", all.streams.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", all.memory.clone());
        all
    }

    /// A request was answered. `route` is one of the service's own, so that clients cannot make names.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Request { route: route.to_owned(), status }).inc();
        self.seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// All in the text form of OpenMetrics.
    pub fn text(&self, under_way: usize, streams: usize) -> String {
        self.under_way.set(under_way as i64);
        self.streams.set(streams as i64);
        self.memory.set(resident_bytes().unwrap_or(0) as i64);
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The memory that the process holds, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
