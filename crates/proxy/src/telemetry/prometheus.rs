//! Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::histogram::HistogramSum;
use super::series::{Figures, Series};

#[derive(Default)]
struct HttpSum {
    requests: u64,
    milliseconds: HistogramSum,
    request_bytes: HistogramSum,
    response_bytes: HistogramSum,
    messages: Option<(u64, u64)>,
}

#[derive(Default)]
struct TcpSum {
    opened: u64,
    closed: u64,
    sent: u64,
    received: u64,
}

/// Figures of all workers, by labels.
#[derive(Default)]
pub(super) struct Sums {
    http: BTreeMap<Box<str>, HttpSum>,
    tcp: BTreeMap<Box<str>, TcpSum>,
}

impl Sums {
    pub(super) fn add(&mut self, series: &Series) {
        match &series.figures {
            Figures::Http(http) => {
                let sum = self.http.entry(series.labels.clone()).or_default();
                sum.requests += http.requests.load(Relaxed);
                sum.milliseconds.add(&http.milliseconds);
                sum.request_bytes.add(&http.request_bytes);
                sum.response_bytes.add(&http.response_bytes);
                if http.grpc {
                    let messages = sum.messages.get_or_insert_default();
                    messages.0 += http.request_messages.load(Relaxed);
                    messages.1 += http.response_messages.load(Relaxed);
                }
            }
            Figures::Tcp(tcp) => {
                let sum = self.tcp.entry(series.labels.clone()).or_default();
                sum.opened += tcp.opened.load(Relaxed);
                sum.closed += tcp.closed.load(Relaxed);
                sum.sent += tcp.sent.load(Relaxed);
                sum.received += tcp.received.load(Relaxed);
            }
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        let http = || self.http.iter();
        counter(out, "istio_requests_total", http().map(|(labels, sum)| (labels, sum.requests)));
        histogram(out, "istio_request_duration_milliseconds", http().map(|(labels, sum)| (labels, &sum.milliseconds)));
        histogram(out, "istio_request_bytes", http().map(|(labels, sum)| (labels, &sum.request_bytes)));
        histogram(out, "istio_response_bytes", http().map(|(labels, sum)| (labels, &sum.response_bytes)));
        let grpc = || http().filter_map(|(labels, sum)| Some((labels, sum.messages?)));
        counter(out, "istio_request_messages_total", grpc().map(|(labels, sum)| (labels, sum.0)));
        counter(out, "istio_response_messages_total", grpc().map(|(labels, sum)| (labels, sum.1)));
        let tcp = || self.tcp.iter();
        counter(out, "istio_tcp_connections_opened_total", tcp().map(|(labels, sum)| (labels, sum.opened)));
        counter(out, "istio_tcp_connections_closed_total", tcp().map(|(labels, sum)| (labels, sum.closed)));
        counter(out, "istio_tcp_sent_bytes_total", tcp().map(|(labels, sum)| (labels, sum.sent)));
        counter(out, "istio_tcp_received_bytes_total", tcp().map(|(labels, sum)| (labels, sum.received)));
    }
}

fn counter<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a Box<str>, u64)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} counter");
    }
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{{{labels}}} {value}");
    }
}

fn histogram<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a Box<str>, &'a HistogramSum)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} histogram");
    }
    for (labels, sum) in values {
        for (bound, count) in sum.cumulative() {
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let count = sum.count();
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", sum.sum());
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}
