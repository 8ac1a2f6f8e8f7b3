//! Who may ask.
//!
//! A web page can have the browser of whoever opens it ask any service on that machine. It cannot choose the headers `Host` and
//! `Origin`: `Origin` tells the page's own address, and a name that an attacker has turned to this machine stands in `Host`.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};

use crate::problem::Problem;

/// What comes before the token in a stream's protocols: browsers let pages set no other header of a WebSocket.
const TOKEN_PROTOCOL: &str = "fer.token.";

/// Under which names the service may be asked, and with which token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub hosts: Vec<String>,
    pub token: Option<String>,
}

impl Access {
    pub fn host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(host) = authority(headers) else {
            return Err(Problem::request("one header Host is needed"));
        };
        let name = host.host();
        let is_address =
            name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
        let is_named = |known: &String| known.eq_ignore_ascii_case(name);
        if is_address || name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(is_named) {
            return Ok(());
        }
        let message = format!(
            "this service does not answer as {name}, for which it would have to be started (`fer serve --host`)"
        );
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", message))
    }

    pub fn origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let same =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).and_then(|(scheme, from)| {
                let to = authority(headers)?;
                (matches!(scheme, "http" | "https") && to.as_str().eq_ignore_ascii_case(from)).then_some(())
            });
        let message = "other websites may not ask this service from a browser";
        same.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "origin", message))
    }

    pub fn token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer
            .and_then(|value| value.split_once(' '))
            .and_then(|(kind, token)| kind.eq_ignore_ascii_case("bearer").then_some(token.trim()));
        let protocols =
            headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let mut shown = protocols
            .flat_map(|value| value.split(','))
            .filter_map(|protocol| protocol.trim().strip_prefix(TOKEN_PROTOCOL))
            .chain(bearer);
        if shown.any(|shown| is_same(shown, token)) {
            return Ok(());
        }
        let message = "this service wants its token: the header `Authorization: Bearer TOKEN`";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "token", message))
    }
}

/// The one `Host`, if it is a name or an address with or without a port.
fn authority(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else { return None };
    let host: Authority = host.to_str().ok()?.parse().ok()?;
    (!host.as_str().contains('@')).then_some(host)
}

/// Whether the two are the same, in a time that tells nothing of where they differ.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_name_that_is_not_its_own_is_refused() {
        let access = Access { hosts: vec!["faces.example".into()], token: None };
        let status =
            |host: &str| access.host(&headers(&[(HOST, host)])).map_err(|problem| problem.status.as_u16());
        for own in
            ["localhost", "LocalHost:7878", "127.0.0.1:7878", "[::1]:7878", "192.168.1.7", "faces.example:80"]
        {
            assert_eq!(status(own), Ok(()), "{own}");
        }
        for other in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7878", "faces.example.evil"]
        {
            assert_eq!(status(other), Err(421), "{other}");
        }
        for wrong in ["", "user@localhost", "a b"] {
            assert_eq!(status(wrong), Err(400), "{wrong:?}");
        }
        assert!(access.host(&headers(&[])).is_err());
        assert!(access.host(&headers(&[(HOST, "localhost"), (HOST, "evil.example")])).is_err());
    }

    #[test]
    fn other_websites_are_refused() {
        let allowed = |host: &str, origin: &str| {
            Access::default().origin(&headers(&[(HOST, host), (ORIGIN, origin)])).is_ok()
        };
        assert!(allowed("localhost:7878", "http://localhost:7878"));
        assert!(allowed("localhost:7878", "https://LOCALHOST:7878"));
        for origin in
            ["http://evil.example", "null", "http://localhost:7879", "http://localhost:7878.evil", "file://"]
        {
            assert!(!allowed("localhost:7878", origin), "{origin}");
        }
        // Programs that are no browsers send none.
        assert!(Access::default().origin(&headers(&[(HOST, "localhost")])).is_ok());
    }

    #[test]
    fn the_token_comes_in_a_header_or_a_protocol() {
        let access = Access { hosts: Vec::new(), token: Some("0123456789abcdef".into()) };
        let allowed = |all: &[(HeaderName, &str)]| access.token(&headers(all)).is_ok();
        assert!(allowed(&[(AUTHORIZATION, "Bearer 0123456789abcdef")]));
        assert!(allowed(&[(SEC_WEBSOCKET_PROTOCOL, "fer, fer.token.0123456789abcdef")]));
        assert!(!allowed(&[(SEC_WEBSOCKET_PROTOCOL, "fer, 0123456789abcdef")]));
        for wrong in ["Bearer 0123456789abcdeg", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert!(!allowed(&[(AUTHORIZATION, wrong)]), "{wrong}");
        }
        assert!(!allowed(&[]));
    }
}
