//! `fer serve`: a page with the camera, and REST.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use fer_serve::{About, Limits, ServeConfig, Server, TlsConfig};

use crate::failure::Failure;
use crate::interrupt::interrupt;
use crate::model::ModelArgs;

/// The variable that may hold the token.
const TOKEN: &str = "FER_TOKEN";
/// How often an interruption is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Serve a page that shows what faces before the camera show, and answer other programs over HTTP, until Ctrl-C.
///
/// Pictures are judged on this machine and not stored. `/openapi.json` describes what can be asked.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The address and port to listen on; 0.0.0.0:7878 is for other machines too, and wants a token and a certificate.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    listen: SocketAddr,
    /// A file with the token that clients have to show, at least 16 characters; FER_TOKEN may hold it instead.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificate for HTTPS, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Take plain HTTP from other machines, where something else encrypts.
    #[arg(long, conflicts_with = "tls_cert")]
    plain_http: bool,
    /// A name of this machine to be asked under, besides localhost and addresses in digits; may be repeated.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Bytes of a request at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().bytes)]
    max_bytes: usize,
    /// Bytes of all requests under way at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().all_bytes)]
    max_all_bytes: usize,
    /// Pixels of a picture at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().pixels)]
    max_pixels: u64,
    /// Pictures of a request at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().pictures)]
    max_pictures: usize,
    /// Pictures under way at most; more are refused with 429.
    #[arg(long, value_name = "N", default_value_t = Limits::default().under_way)]
    max_under_way: usize,
    /// Cameras at once at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().streams)]
    max_streams: usize,
    /// Connections at once at most; more wait.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Seconds that a request may take at most.
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().seconds)]
    timeout: f64,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let interrupted = interrupt()?;
    args.model.start_threads()?;
    let config = config(args)?;
    let server = Server::start(args.model.recognizer()?, &about(args.model.model.as_deref())?, &config)
        .map_err(by_flags)?;
    writeln!(out, "{}", server.url())?;
    out.flush()?;
    while !interrupted.load(Ordering::Relaxed) {
        sleep(PAUSE);
    }
    server.stop();
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args) -> Result<ServeConfig, Failure> {
    let limits = Limits {
        bytes: args.max_bytes,
        all_bytes: args.max_all_bytes,
        pixels: args.max_pixels,
        pictures: args.max_pictures,
        under_way: args.max_under_way,
        streams: args.max_streams,
        connections: args.max_connections,
        seconds: args.timeout,
    };
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(cert, key)| TlsConfig { cert, key });
    let token = token(args.token_file.as_deref())?;
    let hosts = args.host.clone();
    Ok(ServeConfig { listen: args.listen, token, tls, plain_http: args.plain_http, hosts, limits })
}

/// What the service says of a setting, with the flag in the place of the setting's name.
fn by_flags(error: fer_serve::Error) -> Failure {
    let fer_serve::Error::Config { field, value, allowed } = error else { return error.into() };
    let flag = |field: &str| match field {
        "token" => format!("the token of --token-file or {TOKEN}"),
        "limits.seconds" => "--timeout".to_owned(),
        _ => format!("--{}", field.replace("limits.", "max-").replace('_', "-")),
    };
    let allowed = allowed.replace("limits.bytes", &flag("limits.bytes"));
    format!("{} is {value}; allowed: {allowed}", flag(field)).into()
}

fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?,
        None => match std::env::var(TOKEN) {
            Ok(token) => token,
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(e) => return Err(format!("{TOKEN}: {e}").into()),
        },
    };
    Ok(Some(text.trim().to_owned()))
}

/// The model's name and card, as it lies in its folder or came with the program.
fn about(folder: Option<&Path>) -> Result<About, Failure> {
    let Some(folder) = folder else {
        return Ok(About { name: "fer-weights".into(), card: Some(fer::model::PRETRAINED_CARD.into()) });
    };
    let path = folder.join("CARD.md");
    let card = match path.exists() {
        true => Some(std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?),
        false => None,
    };
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    Ok(About { name: name.to_string_lossy().into_owned(), card })
}
