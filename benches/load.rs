//! Reading a CSV of faces, and serving an epoch of batches.
//!
//! The real file, compressed or not, is read too where `FER2013_CSV` names it.

use std::{env, fmt::Write as _, fs, hint::black_box, path::Path, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fer_data::{Dataset, Loader, LoaderConfig};

const ROWS: usize = 3_000;

fn csv(data: &Dataset) -> String {
    let mut csv = String::from("emotion,pixels,Usage\n");
    for i in 0..data.len() {
        let pixels: Vec<String> = data.image(i).iter().map(u8::to_string).collect();
        let _ = writeln!(csv, "{},{},Training", data.label(i).unwrap_or_default(), pixels.join(" "));
    }
    csv
}

fn read(bench: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = folder.path().join("faces.csv");
    fs::write(&plain, csv(&Dataset::drawn(ROWS, 42))).expect("a file");

    let mut group = bench.benchmark_group("read");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements(ROWS as u64));
    let open = |path: &Path| Dataset::open(black_box(path)).expect("faces");
    group.bench_function("csv", |bench| bench.iter(|| open(&plain)));
    if let Some(path) = env::var_os("FER2013_CSV") {
        group.sample_size(10).measurement_time(Duration::from_secs(12));
        group.throughput(Throughput::Elements(open(path.as_ref()).len() as u64));
        group.bench_function("FER2013_CSV", |bench| bench.iter(|| open(path.as_ref())));
    }
    group.finish();
}

fn serve(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("serve");
    group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
    for threads in [0, 1, 2] {
        let config = LoaderConfig { threads, ..LoaderConfig::default() };
        let loader = Loader::new(Dataset::drawn(ROWS, 42), config).expect("a loader");
        group.bench_function(format!("{threads} threads"), |bench| {
            bench.iter(|| loader.epoch(0).map(|batch| batch.expect("a batch").rows.len()).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, read, serve);
criterion_main!(benches);
