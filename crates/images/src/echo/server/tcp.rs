//! Bytes: the server says what it saw once the client has spoken, then everything comes back.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};

use super::{Connection, GREETING, Server, connection::Duplex};
use crate::echo::{lines::Lines, options::Port};

pub(super) async fn serve(
    server: &Server,
    port: &Port,
    connection: &Connection,
    stream: Box<dyn Duplex>,
    mut stopped: watch::Receiver<bool>,
) {
    server.count(port);
    tokio::select! {
        // A client that goes away ends its own conversation.
        _ = talk(server, port, connection, stream) => {}
        _ = stopped.changed() => {}
    }
}

async fn talk(
    server: &Server,
    port: &Port,
    connection: &Connection,
    mut stream: Box<dyn Duplex>,
) -> std::io::Result<()> {
    if port.server_first {
        stream.write_all(GREETING.as_bytes()).await?;
    }
    let mut buffer = [0; 4096];
    let mut told = false;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        if !told {
            stream.write_all(tell(server, port, connection).as_bytes()).await?;
            told = true;
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?;
    }
}

fn tell(server: &Server, port: &Port, connection: &Connection) -> String {
    let mut lines = Lines::plain();
    server.describe(&mut lines, port, connection);
    lines.field("Proto", "TCP");
    lines.field("Hostname", &server.hostname);
    lines.field("StatusCode", 200);
    lines.finish()
}
