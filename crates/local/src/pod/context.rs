//! What all pods of the node share.

use std::sync::Arc;

use lateen_apiserver::Client;

use super::fields::Capacity;
use super::registry::Registry;
use crate::events::Recorder;
use crate::image::ImageResolver;
use crate::network::addresses::Addresses;
use crate::paths::Home;

/// The node as its pods see it.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) images: Arc<dyn ImageResolver>,
    pub(crate) home: Home,
    pub(crate) addresses: Addresses,
    /// Whether containers can run under the ids they ask for.
    pub(crate) many_ids: bool,
    /// Whether pods have an address of each family.
    pub(crate) dual_stack: bool,
    pub(crate) capacity: Capacity,
    pub(crate) registry: Arc<Registry>,
}
