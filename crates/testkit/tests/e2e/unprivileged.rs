//! The same mesh for a user without any privilege.

use lateen_testkit::cluster::{Cluster, User};

#[test]
fn the_whole_tour_without_privileges() -> anyhow::Result<()> {
    crate::mini_mesh::tour(&Cluster::start(User::Nobody)?)
}
