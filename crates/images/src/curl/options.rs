//! The command line.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{failure::Failure, help};

/// Everything that the command line asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Options {
    pub urls: Vec<String>,
    pub method: Option<String>,
    pub headers: Vec<String>,
    pub data: Option<Vec<u8>>,
    /// `Content-Type` that the kind of data implies.
    pub data_type: Option<&'static str>,
    pub data_in_url: bool,
    pub json: bool,
    pub head: bool,
    pub include: bool,
    pub silent: bool,
    pub show_error: bool,
    pub verbose: bool,
    pub fail: bool,
    pub fail_with_body: bool,
    pub fail_early: bool,
    pub follow: bool,
    pub max_redirects: Option<u32>,
    pub insecure: bool,
    pub ca_file: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub max_time: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub http: HttpVersion,
    pub family: Option<Family>,
    pub user: Option<String>,
    pub bearer: Option<String>,
    pub agent: Option<String>,
    pub referer: Option<String>,
    pub cookie: Option<String>,
    pub resolve: Vec<(String, u16, Vec<IpAddr>)>,
    pub connect_to: Vec<(String, String, String, String)>,
    pub outputs: Vec<Target>,
    pub dump_headers: Option<String>,
    pub write_out: Option<String>,
    pub path_as_is: bool,
    pub retries: u32,
    pub retry_delay: Option<Duration>,
    pub retry_refused: bool,
    pub retry_all: bool,
}

/// Where the body of a URL goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    File(String),
    /// A file named like the last part of the URL.
    RemoteName,
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// HTTP/2 where TLS agrees on it, else HTTP/1.1.
    #[default]
    Negotiated,
    Http10,
    Http11,
    /// HTTP/2 from the first byte.
    Http2PriorKnowledge,
}

/// `-4`, `-6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    Transfer(Box<Options>),
    Show(&'static str),
}

pub(super) fn parse(args: &[String]) -> Result<Parsed, Failure> {
    let mut options = Options::default();
    let mut words = args.iter().map(String::as_str);
    let mut only_urls = false;
    while let Some(word) = words.next() {
        if only_urls || word == "-" || !word.starts_with('-') {
            options.urls.push(word.to_owned());
        } else if word == "--" {
            only_urls = true;
        } else if let Some(name) = word.strip_prefix("--") {
            match name {
                "help" => return Ok(Parsed::Show(help::HELP)),
                "version" => return Ok(Parsed::Show(help::VERSION)),
                _ => long(&mut options, name, &mut words)?,
            }
        } else {
            match short(&mut options, word, &mut words)? {
                None => {}
                Some('h') => return Ok(Parsed::Show(help::HELP)),
                Some(_) => return Ok(Parsed::Show(help::VERSION)),
            }
        }
    }
    if options.urls.is_empty() {
        return Err(Failure::Usage("(2) no URL specified".into()));
    }
    Ok(Parsed::Transfer(Box::new(options)))
}

/// A group of one-letter options; the last may have its value attached. Returns `h` or `V` when it meets one.
fn short<'a>(
    options: &mut Options,
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<Option<char>, Failure> {
    for (at, letter) in word.char_indices().skip(1) {
        if matches!(letter, 'h' | 'V') {
            return Ok(Some(letter));
        }
        let unknown = || Failure::Usage(format!("option {word}: is unknown"));
        let name = long_name(letter).ok_or_else(unknown)?;
        if flag(options, name, true) {
            continue;
        }
        let attached = &word[at + letter.len_utf8()..];
        let given = if attached.is_empty() { words.next() } else { Some(attached) };
        valued(options, name, word, given)?;
        return Ok(None);
    }
    Ok(None)
}

fn long<'a>(options: &mut Options, name: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    if flag(options, name, true) || name.strip_prefix("no-").is_some_and(|name| flag(options, name, false)) {
        return Ok(());
    }
    let word = format!("--{name}");
    if !VALUED.contains(&name) {
        return Err(Failure::Usage(format!("option {word}: is unknown")));
    }
    valued(options, name, &word, words.next())
}

fn long_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        's' => "silent",
        'S' => "show-error",
        'v' => "verbose",
        'i' => "include",
        'I' => "head",
        'f' => "fail",
        'k' => "insecure",
        'L' => "location",
        'G' => "get",
        'g' => "globoff",
        'N' => "no-buffer",
        'O' => "remote-name",
        '0' => "http1.0",
        '4' => "ipv4",
        '6' => "ipv6",
        '#' => "progress-bar",
        'q' => "disable",
        'X' => "request",
        'H' => "header",
        'd' => "data",
        'o' => "output",
        'w' => "write-out",
        'm' => "max-time",
        'u' => "user",
        'A' => "user-agent",
        'e' => "referer",
        'b' => "cookie",
        'D' => "dump-header",
        'E' => "cert",
        _ => return None,
    })
}

/// Sets an option without a value; whether there is one of this name.
fn flag(options: &mut Options, name: &str, on: bool) -> bool {
    match name {
        "silent" => options.silent = on,
        "show-error" => options.show_error = on,
        "verbose" => options.verbose = on,
        "include" | "show-headers" => options.include = on,
        "head" => options.head = on,
        "fail" => options.fail = on,
        "fail-with-body" => options.fail_with_body = on,
        "fail-early" => options.fail_early = on,
        "insecure" => options.insecure = on,
        "location" | "location-trusted" => options.follow = on,
        "get" => options.data_in_url = on,
        "path-as-is" => options.path_as_is = on,
        "retry-connrefused" => options.retry_refused = on,
        "retry-all-errors" => options.retry_all = on,
        "remote-name" => options.outputs.push(Target::RemoteName),

        "http1.0" => options.http = HttpVersion::Http10,
        "http1.1" => options.http = HttpVersion::Http11,
        "http2" => options.http = HttpVersion::Negotiated,
        "http2-prior-knowledge" => options.http = HttpVersion::Http2PriorKnowledge,
        "ipv4" => options.family = Some(Family::V4),
        "ipv6" => options.family = Some(Family::V6),
        // Nothing here depends on these: there is no progress meter, no range in URLs, no configuration file, and TLS is
        // 1.2 at least.
        "globoff" | "no-buffer" | "progress-bar" | "progress-meter" | "disable" | "basic" | "tlsv1.2" | "keepalive"
        | "tcp-nodelay" => {}
        _ => return false,
    }
    true
}

const VALUED: [&str; 27] = [
    "request",
    "header",
    "data",
    "data-ascii",
    "data-raw",
    "data-binary",
    "data-urlencode",
    "json",
    "output",
    "write-out",
    "max-time",
    "connect-timeout",
    "user",
    "user-agent",
    "referer",
    "cookie",
    "dump-header",
    "cert",
    "key",
    "cacert",
    "resolve",
    "connect-to",
    "max-redirs",
    "retry",
    "retry-delay",
    "url",
    "oauth2-bearer",
];

fn valued(options: &mut Options, name: &str, word: &str, given: Option<&str>) -> Result<(), Failure> {
    let value = given.ok_or_else(|| Failure::Usage(format!("option {word}: requires parameter")))?;
    let bad = || Failure::Usage(format!("option {word}: expected a proper numerical parameter"));
    let number = || value.parse::<u32>().map_err(|_| bad());
    let seconds = || match value.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(bad()),
    };
    let text = || value.to_owned();
    match name {
        "request" => options.method = Some(text()),
        "header" => options.headers.push(text()),
        "data" | "data-ascii" => add_data(options, read_data(value, true)?),
        "data-raw" => add_data(options, value.as_bytes().to_vec()),
        "data-binary" => add_data(options, read_data(value, false)?),
        "data-urlencode" => add_data(options, encoded(value)),
        "json" => {
            add_data(options, read_data(value, false)?);
            options.data_type = Some("application/json");
            options.json = true;
        }
        "output" => options.outputs.push(Target::File(text())),
        "write-out" => options.write_out = Some(template(value)?),
        "max-time" => options.max_time = Some(seconds()?).filter(|limit| !limit.is_zero()),
        "connect-timeout" => options.connect_timeout = Some(seconds()?).filter(|limit| !limit.is_zero()),
        "user" => options.user = Some(text()),
        "oauth2-bearer" => options.bearer = Some(text()),
        "user-agent" => options.agent = Some(text()),
        "referer" => options.referer = Some(text()),
        "cookie" => options.cookie = Some(text()),
        "dump-header" => options.dump_headers = Some(text()),
        "cert" => options.certificate = Some(text()),
        "key" => options.key = Some(text()),
        "cacert" => options.ca_file = Some(text()),
        "resolve" => options.resolve.push(resolve(value)?),
        "connect-to" => options.connect_to.push(connect_to(value)?),
        "max-redirs" => options.max_redirects = if value == "-1" { Some(u32::MAX) } else { Some(number()?) },
        "retry" => options.retries = number()?,
        "retry-delay" => options.retry_delay = Some(seconds()?),
        "url" => options.urls.push(text()),
        _ => return Err(Failure::Usage(format!("option {word}: is unknown"))),
    }
    Ok(())
}

fn add_data(options: &mut Options, data: Vec<u8>) {
    options.data_type.get_or_insert("application/x-www-form-urlencoded");
    match &mut options.data {
        Some(present) => {
            if !options.json {
                present.push(b'&');
            }
            present.extend(data);
        }
        None => options.data = Some(data),
    }
}

/// Data as given, or `@file`, or `@-` for standard input. `--data` drops line ends of files.
fn read_data(value: &str, strip: bool) -> Result<Vec<u8>, Failure> {
    let Some(file) = value.strip_prefix('@') else {
        return Ok(value.as_bytes().to_vec());
    };
    let read = match file {
        "-" => {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut content).map(|_| content)
        }
        _ => std::fs::read(file),
    };
    let mut content = read.map_err(|_| Failure::Read(format!("Failed to open {file}")))?;
    if strip {
        content.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    }
    Ok(content)
}

/// `content`, `=content` or `name=content`, percent-encoded.
fn encoded(value: &str) -> Vec<u8> {
    let (name, content) = value.split_once('=').unwrap_or(("", value));
    let mut text = if name.is_empty() { String::new() } else { format!("{name}=") };
    for byte in content.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text.into_bytes()
}

fn template(value: &str) -> Result<String, Failure> {
    let bytes = if value.starts_with('@') { read_data(value, false)? } else { value.as_bytes().to_vec() };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `host:port:address[,address]`.
fn resolve(value: &str) -> Result<(String, u16, Vec<IpAddr>), Failure> {
    let bad = || Failure::File(49, format!("Couldn't parse CURLOPT_RESOLVE entry '{value}'"));
    let mut parts = value.trim_start_matches('+').splitn(3, ':');
    let (host, port, addresses) = (parts.next(), parts.next(), parts.next());
    let port = port.and_then(|port| port.parse().ok()).ok_or_else(bad)?;
    let addresses = addresses
        .ok_or_else(bad)?
        .split(',')
        .map(|address| address.trim_matches(['[', ']']).parse::<IpAddr>().map_err(|_| bad()));
    Ok((host.ok_or_else(bad)?.to_ascii_lowercase(), port, addresses.collect::<Result<_, _>>()?))
}

/// `host1:port1:host2:port2`, any of them empty.
fn connect_to(value: &str) -> Result<(String, String, String, String), Failure> {
    let parts: Vec<&str> = value.splitn(4, ':').collect();
    match parts.as_slice() {
        [a, b, c, d] => Ok((a.to_ascii_lowercase(), (*b).into(), (*c).into(), (*d).into())),
        _ => Err(Failure::File(49, format!("Couldn't parse CURLOPT_CONNECT_TO entry '{value}'"))),
    }
}

impl Options {
    /// The `Authorization` header that `-u` or `--oauth2-bearer` makes.
    pub fn authorization(&self) -> Option<String> {
        let basic = |user: &String| format!("Basic {}", STANDARD.encode(user));
        self.user.as_ref().map(basic).or_else(|| Some(format!("Bearer {}", self.bearer.as_ref()?)))
    }
}
