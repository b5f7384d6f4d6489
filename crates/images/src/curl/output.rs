//! What is shown: bodies, headers, and the talk of `-v`.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};

use super::{
    failure::Failure,
    options::{Options, Target},
    url::Url,
};

/// Where a body goes.
pub(super) enum Output {
    Stdout,
    File(File),
}

impl Output {
    /// The output of the URL at `index` on the command line.
    pub fn open(options: &Options, url: &Url, index: usize) -> Result<Output, Failure> {
        let name = match options.outputs.get(index) {
            None => return Ok(Output::Stdout),
            Some(Target::File(name)) if name == "-" => return Ok(Output::Stdout),
            Some(Target::File(name)) => name.clone(),
            Some(Target::RemoteName) => match url.file_name() {
                Some(name) => name.to_owned(),
                None => return Err(Failure::Write("Remote file name has no length".into())),
            },
        };
        match File::create(&name) {
            Ok(file) => Ok(Output::File(file)),
            Err(error) => {
                Err(Failure::Write(format!("Failed to open the file {name}: {}", super::connect::plain(&error))))
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Output::File(file) => file.write_all(bytes),
        };
        written.map_err(|_| Failure::Write("Failure writing output to destination".into()))
    }
}

/// Text on standard output; a reader that has gone away is no error.
pub(super) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A remark of `-v`.
pub(super) fn note(options: &Options, text: fmt::Arguments<'_>) {
    if options.verbose {
        eprintln!("* {text}");
    }
}

/// The request, as `-v` shows it.
pub(super) fn show_request<B>(options: &Options, request: &Request<B>) {
    if !options.verbose {
        return;
    }
    let version =
        if request.version() == Version::HTTP_2 { "HTTP/2".into() } else { format!("{:?}", request.version()) };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    eprintln!("> {} {target} {version}", request.method());
    if let Some(authority) = request.uri().authority() {
        eprintln!("> Host: {authority}");
    }
    for (name, value) in request.headers() {
        eprintln!("> {}: {}", capitals(name.as_str()), String::from_utf8_lossy(value.as_bytes()));
    }
    eprintln!("> ");
}

/// Status line and headers, each line ended as on the wire.
pub(super) fn head_lines(response: &Response<hyper::body::Incoming>) -> Vec<String> {
    let status = response.status();
    let first = match response.version() {
        Version::HTTP_2 => format!("HTTP/2 {} ", status.as_u16()),
        version => {
            let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
            let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
            let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
            format!("{version:?} {} {reason}", status.as_u16())
        }
    };
    let mut lines = vec![first];
    lines.extend(header_lines(response.headers()));
    lines.push(String::new());
    lines
}

fn header_lines(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
}

/// The response's head: to standard error for `-v`, into the output for `-i`, into a file for `-D`.
pub(super) fn show_head(options: &Options, lines: &[String], output: &mut Output) -> Result<(), Failure> {
    if options.verbose {
        lines.iter().for_each(|line| eprintln!("< {line}"));
    }
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
    if options.include || options.head {
        output.write(text.as_bytes())?;
    }
    match options.dump_headers.as_deref() {
        None => Ok(()),
        Some("-") => Output::Stdout.write(text.as_bytes()),
        Some(name) => {
            let opened = File::options().create(true).append(true).open(name);
            let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|_| Failure::Write(format!("Failed to open {name}")))
        }
    }
}

/// A chunk of the body.
pub(super) fn write_chunk(output: &mut Output, chunk: &Bytes) -> Result<(), Failure> {
    output.write(chunk)
}

fn capitals(name: &str) -> String {
    let parts = name.split('-').map(|part| match part.split_at_checked(1) {
        Some((first, rest)) => format!("{}{rest}", first.to_ascii_uppercase()),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("-")
}
