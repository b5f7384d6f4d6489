//! `http-echo`: answers every request with one text.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Instant};

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use jiff::Zoned;

use crate::{
    go_flags::{self, Refused},
    serve::{self, Body},
};

const VERSION: &str = "1.0.0";

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    text: String,
    listen: String,
    status: StatusCode,
}

enum Parsed {
    Serve(Options),
    Version,
    Refused(String, u8),
}

pub(crate) async fn run(args: &[String]) -> ExitCode {
    let options = match parse(args, std::env::var("ECHO_TEXT").ok()) {
        Parsed::Serve(options) => options,
        Parsed::Version => {
            println!("http-echo v{VERSION}");
            return ExitCode::SUCCESS;
        }
        Parsed::Refused(reason, code) => {
            eprintln!("{reason}");
            return ExitCode::from(code);
        }
    };
    let listener = match serve::listen(&options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("[ERR] starting http server: listen tcp {}: {error}", options.listen);
            return ExitCode::FAILURE;
        }
    };
    println!("[INFO] server is listening on {}", options.listen);
    let options = Arc::new(options);
    let served = serve::serve(listener, move |request, peer| {
        let options = options.clone();
        async move { answer(&options, &request, peer) }
    });
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[ERR] {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String], environment: Option<String>) -> Parsed {
    let mut text = environment.unwrap_or_default();
    let mut listen = ":5678".to_owned();
    let mut status = StatusCode::OK;
    let flags = match go_flags::read(args, &["version", "v"]) {
        Ok(flags) => flags,
        Err(refused @ Refused::Word(_)) => return Parsed::Refused(refused.to_string(), 127),
        Err(refused) => return Parsed::Refused(refused.to_string(), 2),
    };
    for (name, value) in flags {
        match name {
            "version" | "v" => return Parsed::Version,
            "text" => text = value.to_owned(),
            "listen" => listen = value.to_owned(),
            "status-code" => match value.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
                Some(code) => status = code,
                None => {
                    return Parsed::Refused(format!("invalid value {value:?} for flag -status-code"), 2);
                }
            },
            _ => return Parsed::Refused(format!("flag provided but not defined: -{name}"), 2),
        }
    }
    if text.is_empty() {
        return Parsed::Refused("Missing -text option!".into(), 127);
    }
    Parsed::Serve(Options { text, listen, status })
}

fn answer(options: &Options, request: &Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let started = Instant::now();
    let (status, kind, content) = match request.uri().path() {
        "/health" => (StatusCode::OK, "application/json", "{\"status\":\"ok\"}\n".to_owned()),
        _ => (options.status, "text/plain; charset=utf-8", format!("{}\n", options.text)),
    };
    let length = content.len();
    let mut response = Response::new(serve::full(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert("x-app-name", header::HeaderValue::from_static("http-echo"));
    headers.insert("x-app-version", header::HeaderValue::from_static(VERSION));
    log(request, peer, status, length, started);
    response
}

fn log(request: &Request<Incoming>, peer: SocketAddr, status: StatusCode, length: usize, started: Instant) {
    let text = |name: header::HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let host = request.uri().authority().map_or_else(|| text(header::HOST), |authority| authority.as_str());
    println!(
        "{} {host} {peer} \"{} {} {:?}\" {} {length} \"{}\" {:?}",
        Zoned::now().strftime("%Y/%m/%d %H:%M:%S"),
        request.method(),
        request.uri().path(),
        request.version(),
        status.as_u16(),
        text(header::USER_AGENT),
        started.elapsed(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], environment: Option<&str>) -> Result<Options, (String, u8)> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        match parse(&args, environment.map(str::to_owned)) {
            Parsed::Serve(options) => Ok(options),
            Parsed::Version => Err(("version".into(), 0)),
            Parsed::Refused(reason, code) => Err((reason, code)),
        }
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let options = |text: &str, listen: &str, status: u16| Options {
            text: text.into(),
            listen: listen.into(),
            status: StatusCode::from_u16(status).unwrap(),
        };
        for (args, expected) in [
            (&["-text=Calling DB..."][..], options("Calling DB...", ":5678", 200)),
            (&["-text", "x"], options("x", ":5678", 200)),
            (&["--text=a=b", "-listen=:80"], options("a=b", ":80", 200)),
            (&["-listen", "127.0.0.1:1", "-text=x", "--status-code=503"], options("x", "127.0.0.1:1", 503)),
        ] {
            assert_eq!(parsed(args, None), Ok(expected), "{args:?}");
        }
        assert_eq!(parsed(&[], Some("from env")), Ok(options("from env", ":5678", 200)));
    }

    #[test]
    fn wrong_flags_end_it_with_a_reason() {
        for (args, word, code) in [
            (&[][..], "Missing -text", 127),
            (&["-text=x", "-status-code=9999"], "-status-code", 2),
            (&["-text"], "needs an argument", 2),
            (&["-text=x", "-what=1"], "-what", 2),
            (&["-text=x", "word"], "Too many arguments", 127),
        ] {
            let (reason, got) = parsed(args, None).unwrap_err();
            assert!(reason.contains(word) && got == code, "{args:?}: {reason} ({got})");
        }
    }
}
