//! One set of labels with its figures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::Histogram;
use crate::record::{Record, RequestRecord};

/// Figures of requests or of byte streams under one set of labels, from one worker.
#[derive(Debug)]
pub(super) struct Series {
    /// The labels as Prometheus writes them, without braces.
    pub(super) labels: Box<str>,
    pub(super) figures: Figures,
}

#[derive(Debug)]
pub(super) enum Figures {
    Http(Box<Http>),
    Tcp(Tcp),
}

#[derive(Debug, Default)]
pub(super) struct Http {
    pub(super) requests: AtomicU64,
    pub(super) milliseconds: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
    pub(super) grpc: bool,
    pub(super) request_messages: AtomicU64,
    pub(super) response_messages: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Tcp {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Series {
    pub(super) fn new(labels: String, request: Option<&RequestRecord<'_>>) -> Series {
        let figures = match request {
            Some(request) => Figures::Http(Box::new(Http { grpc: request.grpc, ..Http::default() })),
            None => Figures::Tcp(Tcp::default()),
        };
        Series { labels: labels.into(), figures }
    }

    pub(super) fn request_ended(&self, record: &Record<'_>, request: &RequestRecord<'_>) {
        let Figures::Http(http) = &self.figures else { return };
        http.requests.fetch_add(1, Relaxed);
        http.milliseconds.observe(record.duration.as_secs_f64() * 1000.0);
        http.request_bytes.observe((record.bytes_received + record.request_head_bytes) as f64);
        http.response_bytes.observe((record.bytes_sent + record.response_head_bytes) as f64);
        if request.grpc {
            http.request_messages.fetch_add(request.request_messages, Relaxed);
            http.response_messages.fetch_add(request.response_messages, Relaxed);
        }
    }

    pub(super) fn stream_opened(&self) {
        if let Figures::Tcp(tcp) = &self.figures {
            tcp.opened.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn stream_closed(&self) {
        if let Figures::Tcp(tcp) = &self.figures {
            tcp.closed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn stream_moved(&self, received: u64, sent: u64) {
        if let Figures::Tcp(tcp) = &self.figures {
            tcp.received.fetch_add(received, Relaxed);
            tcp.sent.fetch_add(sent, Relaxed);
        }
    }
}
