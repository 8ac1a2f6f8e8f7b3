//! How the service is run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::{Error, Result};

/// The fewest characters of a token.
const SHORTEST_TOKEN: usize = 16;
/// The largest count of a limit.
const MOST: u64 = 1_000_000_000;

/// How the service is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeConfig {
    /// Where it listens: `127.0.0.1:7878`. Port 0 is any free one.
    pub listen: SocketAddr,
    /// What a client has to show to ask for anything but the page, at least 16 letters, digits, `-`, `.`, `_`, `~`. Needed for more
    /// than this machine.
    pub token: Option<String>,
    /// The certificate for HTTPS. For more than this machine it is needed, or `plain_http`.
    pub tls: Option<TlsConfig>,
    /// Takes plain HTTP from other machines: for a network where something else encrypts.
    pub plain_http: bool,
    /// Names of this machine under which it may be asked, besides `localhost` and addresses in digits.
    pub hosts: Vec<String>,
    /// What is refused.
    pub limits: Limits,
}

/// A certificate and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The chain of certificates, the service's own first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is refused, so that no client takes the memory or the time of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of one request, and of one frame of a stream: 32 MB.
    pub bytes: usize,
    /// Bytes of all requests under way: 256 MB. What a request takes is known from its length; without one it counts as `bytes`.
    pub all_bytes: usize,
    /// Pixels of one picture: 25 million.
    pub pixels: u64,
    /// Pictures of one request: 16.
    pub pictures: usize,
    /// Pictures under way, waiting ones included: 100. One more is refused with 429. Who waits, waits for all before: as many seconds
    /// as it takes to judge these pictures.
    pub under_way: usize,
    /// Streams of frames at once: 8.
    pub streams: usize,
    /// Connections at once: 512. One more waits until another ends.
    pub connections: usize,
    /// Seconds that a request may take, its arrival included: 10.
    pub seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32_000_000,
            all_bytes: 256_000_000,
            pixels: 25_000_000,
            pictures: 16,
            under_way: 100,
            streams: 8,
            connections: 512,
            seconds: 10.0,
        }
    }
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)),
            token: None,
            tls: None,
            plain_http: false,
            hosts: Vec::new(),
            limits: Limits::default(),
        }
    }
}

impl ServeConfig {
    /// Checks what does not need the network.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |field, value: String, allowed: &str| {
            Err(Error::Config { field, value, allowed: allowed.to_owned() })
        };
        let Limits { bytes, all_bytes, pixels, pictures, under_way, streams, connections, seconds } =
            self.limits;
        let counts = [
            ("limits.bytes", bytes as u64),
            ("limits.all_bytes", all_bytes as u64),
            ("limits.pixels", pixels),
            ("limits.pictures", pictures as u64),
            ("limits.under_way", under_way as u64),
            ("limits.streams", streams as u64),
            ("limits.connections", connections as u64),
        ];
        if let Some((field, value)) = counts.into_iter().find(|(_, value)| !(1..=MOST).contains(value)) {
            return refuse(field, value.to_string(), "1 to 1,000,000,000");
        }
        if all_bytes < bytes {
            return refuse("limits.all_bytes", all_bytes.to_string(), "at least limits.bytes");
        }
        if !(0.001..=86_400.0).contains(&seconds) {
            return refuse("limits.seconds", seconds.to_string(), "0.001 to 86400");
        }
        if let Some(token) = &self.token {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            if token.len() < SHORTEST_TOKEN || !token.chars().all(allowed) {
                let found = format!("{} characters", token.chars().count());
                return refuse("token", found, "at least 16 letters, digits and -._~ and no others");
            }
        }
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let address = self.listen.to_string();
        if self.token.is_none() {
            return refuse("listen", address, "other machines only with a token, or anybody there could ask");
        }
        if self.tls.is_none() && !self.plain_http {
            let allowed = "other machines only with a certificate and its key, or with plain HTTP asked for where something \
                           else encrypts";
            return refuse("listen", address, allowed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_a_token_and_encryption() {
        let tls = TlsConfig { cert: "cert.pem".into(), key: "key.pem".into() };
        let local = ServeConfig::default();
        local.validate().unwrap();
        let open = ServeConfig { listen: "0.0.0.0:7878".parse().unwrap(), ..local.clone() };
        let message = |config: &ServeConfig| config.validate().unwrap_err().to_string();
        assert!(message(&open).contains("a token"), "{}", message(&open));
        let token = ServeConfig { token: Some("0123456789abcdef".into()), ..open };
        assert!(message(&token).contains("a certificate"), "{}", message(&token));
        ServeConfig { tls: Some(tls), ..token.clone() }.validate().unwrap();
        ServeConfig { plain_http: true, ..token }.validate().unwrap();
        let local_six = ServeConfig { listen: "[::1]:7878".parse().unwrap(), ..local };
        local_six.validate().unwrap();
    }

    #[test]
    fn a_token_is_long_and_travels_in_a_header() {
        for token in ["", "short", "0123456789abcde", "0123456789abcdef ", "0123456789abcdé€"] {
            let config = ServeConfig { token: Some(token.into()), ..ServeConfig::default() };
            assert!(config.validate().unwrap_err().to_string().contains("token"), "{token:?}");
        }
    }

    #[test]
    fn limits_are_numbers_that_can_be_kept() {
        let refused = |limits: Limits| {
            let config = ServeConfig { limits, ..ServeConfig::default() };
            config.validate().unwrap_err().to_string()
        };
        let usual = Limits::default();
        assert!(refused(Limits { under_way: 0, ..usual }).contains("limits.under_way"));
        assert!(refused(Limits { all_bytes: 1, ..usual }).contains("limits.all_bytes"));
        assert!(refused(Limits { seconds: f64::NAN, ..usual }).contains("limits.seconds"));
    }
}
