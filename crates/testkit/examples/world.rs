//! How long the worlds of Istio's tests take to come up. Prints figures; judges nothing.

use std::time::Instant;

use lateen_testkit::cluster::{Cluster, User};
use lateen_testkit::world::World;

type Start = fn(&Cluster) -> anyhow::Result<World>;

fn main() -> anyhow::Result<()> {
    for (name, start) in [("routing", World::routing as Start), ("security", World::security)] {
        let began = Instant::now();
        let cluster = Cluster::start(User::Root)?;
        let up = began.elapsed().as_secs_f64();
        start(&cluster)?;
        println!("{name}: mesh up {up:.1} s, all workloads ready {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}
