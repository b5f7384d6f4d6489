//! The same mesh for a user without any privilege.

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User};

#[test]
fn the_whole_tour_without_privileges() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Nobody)?;
    // Pods still start after an upgrade of the program.
    cluster.replace_program()?;
    crate::mini_mesh::tour(&cluster)?;
    let warnings = cluster.kubectl().run(&["get", "events", "-A", "--field-selector", "reason=UserIdNotHonoured"])?;
    ensure!(warnings.trim().is_empty(), "nothing of the sample asks for a user id that there isn't:\n{warnings}");
    Ok(())
}
