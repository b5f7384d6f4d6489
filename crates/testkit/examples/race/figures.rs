//! What is measured.

use crate::course::{Course, RACERS};
use crate::crowd::{endpoints, services};
use crate::{load, start};

/// One measurement, which may give several figures.
pub struct Figure {
    /// What is done.
    pub name: &'static str,
    /// What comes out of it.
    pub parts: &'static [Part],
    /// Whether the quick run has it.
    pub quick: bool,
    /// More rounds than this tell nothing new.
    pub at_most: usize,
    /// Does it once for a racer; gives one value for each part.
    pub measure: fn(&Course<'_>, &str, u32) -> anyhow::Result<Vec<f64>>,
}

/// One figure.
pub struct Part {
    /// Its name, after the measurement's.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The ratio to Envoy that Lateen strives for: at most this, or at least this where more is better.
    pub goal: Option<f64>,
    /// Whether more is better.
    pub more: bool,
}

const fn less(name: &'static str, unit: &'static str, goal: f64) -> Part {
    Part { name, unit, goal: Some(goal), more: false }
}

const RATE: Part = Part { name: "throughput", unit: "requests/s", goal: None, more: true };

/// Everything, in the order of the table.
pub const ALL: &[Figure] = &[
    Figure {
        name: "sidecar at rest",
        parts: &[less("memory", "MiB", 0.2)],
        quick: true,
        at_most: 1,
        measure: |course, racer, _| Ok(vec![course.sidecar(racer, "client")?.resident()?]),
    },
    saturation("HTTP/1.1, as fast as it goes", &[less("CPU a request", "µs", 0.2), RATE], |course, racer, seconds| {
        both(&load::saturate(course, racer, seconds, "--h1 -c 64 http://server/")?)
    }),
    saturation("HTTP/2, as fast as it goes", &[less("CPU a request", "µs", 0.3), RATE], |course, racer, seconds| {
        both(&load::saturate(course, racer, seconds, "-c 8 -m 16 http://server:85/")?)
    }),
    saturation("gRPC, as fast as it goes", &[less("CPU a request", "µs", 0.3), RATE], |course, racer, seconds| {
        let call = "printf '\\000\\000\\000\\000\\000' > /tmp/grpc; ";
        let args = "-c 8 -m 16 -d /tmp/grpc -H 'content-type: application/grpc' -H 'te: trailers' http://server:7070/proto.EchoTestService/Echo";
        course.in_client(racer, call)?;
        both(&load::saturate(course, racer, seconds, args)?)
    }),
    saturation(
        "HTTP/1.1, 2,000 requests/s",
        &[less("CPU a request", "µs", 0.33), less("p50", "µs", 0.5), less("p99", "µs", 0.6), less("p99.9", "µs", 0.8)],
        |course, racer, seconds| {
            let (run, times) = load::paced(course, racer, seconds)?;
            let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile) as usize];
            Ok(vec![run.cpu_per_request(), at(0.5), at(0.99), at(0.999)])
        },
    ),
    saturation("bytes over mutual TLS, 1 MiB each", &[less("CPU a GB", "ms", 0.8)], |course, racer, seconds| {
        bulk(&load::saturate(course, racer, seconds, "--h1 -c 8 http://server:9090/1m")?)
    }),
    saturation("HTTP/1.1, bodies of 1 MiB", &[less("CPU a GB", "ms", 0.6)], |course, racer, seconds| {
        bulk(&load::saturate(course, racer, seconds, "--h1 -c 8 http://server/1m")?)
    }),
    saturation(
        "new connections over mutual TLS",
        &[Part { name: "connections a second and core", unit: "1/s", goal: Some(1.5), more: true }],
        |course, racer, seconds| Ok(vec![1e6 / load::connections(course, racer, seconds)?.cpu_per_request()]),
    ),
    Figure {
        name: "HTTP/1.1 with JSON access log",
        parts: &[less("CPU a request", "µs", 0.25), RATE],
        quick: false,
        at_most: 3,
        measure: |course, racer, seconds| {
            course.access_log(true)?;
            let run = load::saturate(course, racer, seconds, "--h1 -c 64 http://server/")?;
            course.access_log(false)?;
            both(&run)
        },
    },
    Figure {
        name: "10,000 idle connections",
        parts: &[less("memory each", "KiB", 0.3)],
        quick: false,
        at_most: 1,
        measure: idle_connections,
    },
    Figure {
        name: "start of a sidecar",
        parts: &[less("time to the first request", "ms", 0.2)],
        quick: false,
        at_most: usize::MAX,
        measure: |course, racer, _| Ok(vec![start::to_first_request(course, racer)?]),
    },
    Figure {
        name: "1,000 services with routes",
        parts: &[less("memory", "MiB", 0.15), less("time to the first request", "ms", 0.05)],
        quick: false,
        at_most: 1,
        measure: |course, racer, _| among(course, racer, &services(1000)),
    },
    Figure {
        name: "10,000 endpoints in 100 services",
        parts: &[less("memory", "MiB", 0.15), less("time to the first request", "ms", 0.05)],
        quick: false,
        at_most: 1,
        measure: |course, racer, _| among(course, racer, &endpoints(100, 100)),
    },
];

const fn saturation(
    name: &'static str,
    parts: &'static [Part],
    measure: fn(&Course<'_>, &str, u32) -> anyhow::Result<Vec<f64>>,
) -> Figure {
    Figure { name, parts, quick: true, at_most: usize::MAX, measure }
}

fn both(run: &load::Run) -> anyhow::Result<Vec<f64>> {
    Ok(vec![run.cpu_per_request(), run.rate])
}

/// Memory and start of a sidecar in a mesh that has much else.
fn among(course: &Course<'_>, racer: &str, crowd: &str) -> anyhow::Result<Vec<f64>> {
    if racer == RACERS[0] {
        course.crowd(crowd)?;
    }
    let start = start::to_first_request(course, racer)?;
    let resident = course.sidecar(racer, "client")?.resident()?;
    if racer != RACERS[0] {
        course.empty()?;
    }
    Ok(vec![resident, start])
}

/// Milliseconds of processor time for 10^9 bytes, where each answer has 1 MiB.
fn bulk(run: &load::Run) -> anyhow::Result<Vec<f64>> {
    Ok(vec![run.cpu / 1e3 / (run.done * 1_048_576.0 / 1e9)])
}

/// Memory of the client's sidecar for each of 10,000 connections that were used once and rest.
fn idle_connections(course: &Course<'_>, racer: &str, _: u32) -> anyhow::Result<Vec<f64>> {
    const COUNT: f64 = 10_000.0;
    if racer == RACERS[0] {
        course.renew()?;
    }
    let sidecar = course.sidecar(racer, "client")?;
    let before = sidecar.resident()?;
    let script = "import socket, sys, time\n\
        held = []\n\
        for _ in range(10000):\n\
        \x20   s = socket.create_connection(('server', 80))\n\
        \x20   s.sendall(b'GET / HTTP/1.1\\r\\nHost: server\\r\\n\\r\\n')\n\
        \x20   s.recv(4096)\n\
        \x20   held.append(s)\n\
        open('/tmp/held', 'w')\n\
        time.sleep(10)\n";
    course.in_client(racer, &format!("rm -f /tmp/held; python3 -c \"{script}\" > /tmp/held.log 2>&1 & for i in $(seq 100); do [ -e /tmp/held ] && exit 0; sleep 0.5; done; cat /tmp/held.log >&2; exit 1"))?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let held = sidecar.resident()?;
    std::thread::sleep(std::time::Duration::from_secs(10));
    Ok(vec![(held - before) * 1024.0 / COUNT])
}
