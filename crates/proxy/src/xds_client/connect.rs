//! A new connection for each stream, so that a rotated token or root is read.

use lateen_xds::client::{BoxError, Connect, Connected};
use tonic::transport::Channel;

use crate::control_plane::ControlPlane;

/// Connects to the control plane.
pub struct Connector(pub ControlPlane);

impl Connect for Connector {
    type Service = Channel;

    async fn connect(&mut self) -> Result<Connected<Channel>, BoxError> {
        let metadata = self.0.credentials()?;
        let service = self.0.channel().await?;
        Ok(Connected { service, metadata, origin: self.0.origin()? })
    }
}
