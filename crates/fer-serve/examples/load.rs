//! Puts load on a running service and says how long its answers take.
//!
//! ```sh
//! fer serve --listen 127.0.0.1:7878 &
//! cargo run --release --example load -- 127.0.0.1:7878 photo.jpg --clients 100 --seconds 20
//! cargo run --release --example load -- 127.0.0.1:7878 photo.jpg --rate 200 --seconds 20
//! cargo run --release --example load -- 127.0.0.1:7878 photo.jpg --alone
//! ```
#![allow(clippy::print_stdout, reason = "a program talks to a person")]

#[path = "../tests/client/mod.rs"]
mod client;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use client::Client;
use fer_picture::Decoder;
use fer_serve::fer::Recognizer;
use image::codecs::jpeg::JpegEncoder;

/// Puts load on a running service and says how long its answers take.
#[derive(Parser)]
struct Args {
    /// Where it listens.
    address: SocketAddr,
    /// The picture that is sent.
    picture: PathBuf,
    /// So many clients, each with one request at a time.
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// So many requests a second in all, whether answered or not.
    #[arg(long, conflicts_with = "alone")]
    rate: Option<f64>,
    /// One client, in turn with the library on the same picture.
    #[arg(long)]
    alone: bool,
    /// How long.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Send the picture as a JPEG, of quality 90, as cameras make them.
    #[arg(long)]
    jpeg: bool,
    /// What is asked.
    #[arg(long, default_value = "/v1/predict")]
    path: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut picture = std::fs::read(&args.picture)?;
    if args.jpeg {
        let decoded = Decoder::default().decode(&picture)?.into_rgb8();
        picture = Vec::new();
        JpegEncoder::new_with_quality(&mut picture, 90).encode_image(&decoded)?;
    }
    if args.alone { alone(&args, &picture) } else { together(&args, &picture) }
}

/// Seconds of each answer by its status; 0 is none.
type Times = BTreeMap<u16, Vec<f64>>;

fn together(args: &Args, picture: &[u8]) -> Result<(), Box<dyn Error>> {
    let (times, sent, start) = (Mutex::new(Times::new()), AtomicU64::new(0), Instant::now());
    let end = start + Duration::from_secs_f64(args.seconds);
    std::thread::scope(|scope| {
        for _ in 0..args.clients {
            scope.spawn(|| {
                let mut client = None;
                while Instant::now() < end {
                    // With a rate each request has its moment, and counts from it.
                    let due = args.rate.map(|rate| {
                        start + Duration::from_secs_f64(sent.fetch_add(1, Ordering::Relaxed) as f64 / rate)
                    });
                    if let Some(due) = due {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    let begin = Instant::now();
                    let status = ask(&mut client, args, picture);
                    let seconds = begin.elapsed().as_secs_f64();
                    let mut times = times.lock().unwrap_or_else(|e| e.into_inner());
                    times.entry(status).or_default().push(seconds);
                }
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    for (status, mut times) in times.into_inner().unwrap_or_else(|e| e.into_inner()) {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| 1000.0 * times[((times.len() - 1) as f64 * part) as usize];
        let (count, rate) = (times.len(), times.len() as f64 / took);
        let name = if status == 0 { "no answer".to_owned() } else { format!("status {status}") };
        println!(
            "{name}: {count}, {rate:.1} a second; ms: median {:.1}, 99 % {:.1}, most {:.1}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    Ok(())
}

/// The status of one answer; a broken connection is made anew for the next.
fn ask(client: &mut Option<Client>, args: &Args, picture: &[u8]) -> u16 {
    let mut connection = match client.take().map_or_else(|| Client::connect(args.address), Ok) {
        Ok(connection) => connection,
        Err(_) => return 0,
    };
    match connection.post(&args.path, picture) {
        Ok(answer) => {
            *client = Some(connection);
            answer.status
        }
        Err(_) => 0,
    }
}

fn alone(args: &Args, picture: &[u8]) -> Result<(), Box<dyn Error>> {
    let recognizer = Recognizer::pretrained()?;
    let mut client = Client::connect(args.address)?;
    let (mut service, mut library) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    while Instant::now() < end {
        let begin = Instant::now();
        let answer = client.post(&args.path, picture)?;
        service.push(begin.elapsed().as_secs_f64());
        if answer.status != 200 {
            return Err(format!("status {}", answer.status).into());
        }
        let begin = Instant::now();
        recognizer.recognize(&Decoder::default().decode(picture)?)?;
        library.push(begin.elapsed().as_secs_f64());
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        1000.0 * times[times.len() / 2]
    };
    let (service, library) = (median(&mut service), median(&mut library));
    println!("ms, medians: service {service:.2}, library {library:.2}, {:.2} more", service - library);
    Ok(())
}
