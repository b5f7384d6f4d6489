//! `-w`: a line about the transfer, from a template.

use std::{net::SocketAddr, time::Duration};

use http::HeaderMap;

/// What is known about a transfer when it is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub status: u16,
    pub version: &'static str,
    pub method: String,
    pub url: String,
    pub effective_url: String,
    pub scheme: &'static str,
    pub headers: HeaderMap,
    pub redirect_url: String,
    pub redirects: u32,
    pub connects: u32,
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub size_download: u64,
    pub size_upload: u64,
    pub size_header: u64,
    pub name_lookup: Duration,
    pub connect: Duration,
    pub app_connect: Duration,
    pub pre_transfer: Duration,
    pub start_transfer: Duration,
    pub redirect_time: Duration,
    pub total: Duration,
    pub exit_code: u8,
    pub error: String,
}

/// Writes the filled template to standard output, or where `%{stderr}` says.
pub(super) fn write(template: &str, report: &Report) {
    let (stdout, stderr) = fill(template, report);
    super::output::print(&stdout);
    if !stderr.is_empty() {
        eprint!("{stderr}");
    }
}

fn fill(template: &str, report: &Report) -> (String, String) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut to_stderr = false;
    let mut rest = template;
    while let Some(letter) = rest.chars().next() {
        let mut piece = letter.to_string();
        let mut used = letter.len_utf8();
        if let Some(name) = rest.strip_prefix("%{").and_then(|tail| tail.split_once('}')).map(|(name, _)| name) {
            used = name.len() + 3;
            piece = match name {
                "stdout" | "stderr" => {
                    to_stderr = name == "stderr";
                    String::new()
                }
                _ => variable(name, report).unwrap_or_else(|| format!("%{{{name}}}")),
            };
        } else if let Some(tail) = rest.strip_prefix("%header{") {
            let name = tail.split('}').next().unwrap_or_default();
            used = name.len() + "%header{}".len();
            let value = report.headers.get(name).and_then(|value| value.to_str().ok());
            piece = value.unwrap_or_default().to_owned();
        } else if rest.starts_with("%%") {
            used = 2;
        } else if letter == '\\' {
            let escape = rest[1..].chars().next();
            let plain = match escape {
                Some('n') => Some("\n"),
                Some('r') => Some("\r"),
                Some('t') => Some("\t"),
                Some('\\') => Some("\\"),
                _ => None,
            };
            if let Some(plain) = plain {
                piece = plain.to_owned();
                used = 2;
            }
        }
        if to_stderr { &mut stderr } else { &mut stdout }.push_str(&piece);
        rest = rest.get(used..).unwrap_or_default();
    }
    (stdout, stderr)
}

fn variable(name: &str, report: &Report) -> Option<String> {
    let seconds = |time: Duration| format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    let speed = |size: u64| {
        let seconds = report.total.as_secs_f64();
        if seconds > 0.0 { format!("{:.0}", size as f64 / seconds) } else { "0".into() }
    };
    let address = |address: Option<SocketAddr>| address.map(|known| known.ip().to_string()).unwrap_or_default();
    let port = |address: Option<SocketAddr>| address.map_or("0".into(), |known| known.port().to_string());
    let header = |name: &str| {
        let value = report.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Some(match name {
        "http_code" | "response_code" => format!("{:03}", report.status),
        "http_version" => report.version.to_owned(),
        "http_connect" => "000".into(),
        "method" => report.method.clone(),
        "scheme" => report.scheme.to_owned(),
        "url" => report.url.clone(),
        "url_effective" => report.effective_url.clone(),
        "redirect_url" => report.redirect_url.clone(),
        "num_redirects" => report.redirects.to_string(),
        "num_connects" => report.connects.to_string(),
        "num_headers" => report.headers.len().to_string(),
        "content_type" => header("content-type"),
        "remote_ip" => address(report.remote),
        "remote_port" => port(report.remote),
        "local_ip" => address(report.local),
        "local_port" => port(report.local),
        "size_download" => report.size_download.to_string(),
        "size_upload" => report.size_upload.to_string(),
        "size_header" => report.size_header.to_string(),
        "speed_download" => speed(report.size_download),
        "speed_upload" => speed(report.size_upload),
        "time_namelookup" => seconds(report.name_lookup),
        "time_connect" => seconds(report.connect),
        "time_appconnect" => seconds(report.app_connect),
        "time_pretransfer" => seconds(report.pre_transfer),
        "time_starttransfer" => seconds(report.start_transfer),
        "time_redirect" => seconds(report.redirect_time),
        "time_total" => seconds(report.total),
        "exitcode" => report.exit_code.to_string(),
        "errormsg" => report.error.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_curl_fills_them() {
        let mut report = Report { status: 200, total: Duration::from_micros(1_500_042), ..Report::default() };
        report.headers.insert("x-pod", "backend-1".parse().unwrap());
        for (template, expected) in [
            ("%{http_code}\\n", "200\n"),
            ("%{response_code} %{time_total}s", "200 1.500042s"),
            ("100%% %header{x-pod}\\t|", "100% backend-1\t|"),
            ("%{unknown} %x \\q", "%{unknown} %x \\q"),
            ("", ""),
        ] {
            assert_eq!(fill(template, &report).0, expected, "{template}");
        }
        assert_eq!(fill("a%{stderr}b%{stdout}c", &report), ("ac".into(), "b".into()));
        assert_eq!(fill("%{http_code}", &Report::default()).0, "000");
    }
}
