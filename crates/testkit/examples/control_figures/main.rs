//! How fast and how small istiod is, as its proxies see it: `make bench-control`. Prints figures; judges nothing.
//!
//! istiod is the one of a real mesh, configured through its API server; the proxies are simulated: each has a connection of
//! its own, speaks real incremental xDS and wants what a sidecar wants, but carries no traffic.

mod mesh;
mod proxies;

use std::time::{Duration, Instant};

use anyhow::Context;
use lateen_testkit::cluster::{Cluster, User};
use lateen_testkit::processes;

use mesh::Mesh;
use proxies::{Proxies, Wait};

/// Proxies on istiod, evenly from all namespaces.
const PROXIES: usize = 1_000;
/// How often each change is made.
const ROUNDS: usize = 10;
/// No push takes longer than this.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes a change of its kind, another one for each round.
type Change = fn(&Mesh, usize) -> anyhow::Result<()>;

const CHANGES: [(&str, Change); 2] =
    [("one endpoint changed", Mesh::change_endpoint), ("one VirtualService changed", Mesh::change_route)];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [role] if role == proxies::ROLE => proxies::run(),
        [] => figures(),
        _ => anyhow::bail!("no arguments, please"),
    }
}

fn figures() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let istiod = istiod(&cluster)?;
    println!("istiod at rest                                 {:>8.1} MiB", processes::resident(istiod)?);
    let mesh = Mesh::new(&cluster)?;
    let start = Instant::now();
    mesh.lay()?;
    eprintln!("{} Services and {} endpoints written in {:.0?}", mesh::SERVICES, mesh::ENDPOINTS, start.elapsed());
    // What istiod merges while they come isn't what is measured.
    std::thread::sleep(Duration::from_secs(3));
    println!("istiod with them, no proxy                     {:>8.1} MiB", processes::resident(istiod)?);
    println!("\n{PROXIES} proxies, each sees all {} Services", mesh::SERVICES);
    one_round(&mesh, istiod, PROXIES)?;
    mesh.narrow()?;
    println!(
        "\n{PROXIES} proxies, each sees its own namespace's {} (a Sidecar in each)",
        mesh::SERVICES / mesh::NAMESPACES
    );
    one_round(&mesh, istiod, PROXIES / mesh::NAMESPACES)
}

/// Connects all proxies and makes changes; `concerned` of them use the service that changes.
fn one_round(mesh: &Mesh, istiod: u32, concerned: usize) -> anyhow::Result<()> {
    let mut proxies = Proxies::start(istiod).context("simulated proxies")?;
    let spent = Spent::begin(istiod)?;
    let wait = proxies.connect(PROXIES, LIMIT)?;
    spent.print("first push, from connecting to the last answer", &wait)?;
    println!("  istiod with them                             {:>8.1} MiB", processes::resident(istiod)?);
    for (name, change) in CHANGES {
        let spent = Spent::begin(istiod)?;
        let mut wait = Wait::default();
        for round in 0..ROUNDS {
            wait.add(proxies.change(concerned, LIMIT, || change(mesh, round))?);
        }
        spent.print(name, &wait)?;
        eprintln!("  {} of {} proxies were sent it", wait.reached(ROUNDS), PROXIES);
    }
    Ok(())
}

/// What istiod spends while something happens.
struct Spent {
    istiod: u32,
    before: f64,
}

impl Spent {
    fn begin(istiod: u32) -> anyhow::Result<Self> {
        Ok(Self { istiod, before: processes::cpu(istiod)? })
    }

    fn print(&self, what: &str, wait: &Wait) -> anyhow::Result<()> {
        let cpu = processes::cpu(self.istiod)? - self.before;
        let [p50, p99, last] = wait.quantiles();
        println!("  {what:<46} p50 {p50:>7.0} ms, p99 {p99:>7.0} ms, last {last:>7.0} ms; CPU {cpu:.2} s");
        Ok(())
    }
}

/// The process of istiod.
fn istiod(cluster: &Cluster) -> anyhow::Result<u32> {
    let mesh = processes::of_mesh(cluster.home())?;
    let istiod = mesh
        .iter()
        .find(|process| process.environment.contains("POD_NAME=istiod-") && !process.command.contains("container-"));
    Ok(istiod.with_context(|| format!("no istiod among {mesh:#?}"))?.pid)
}
