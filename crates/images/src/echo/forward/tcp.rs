//! Calls of bytes: a message out, lines back until they hold what is expected.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    connect::{Duplex, connect},
    plan::Plan,
};
use crate::echo::{lines::Lines, server::GREETING};

/// The most bytes of an answer.
const LARGEST: usize = 16 << 20;

pub(super) async fn call(plan: &Plan, id: usize, lines: &mut Lines) -> Result<(), String> {
    let mut stream = connect(plan).await?.stream;
    if plan.server_first {
        greeting(&mut *stream).await?;
    }
    let message = plan.message();
    stream.write_all(format!("{message}\n").as_bytes()).await.map_err(|error| format!("write: {error}"))?;
    stream.flush().await.map_err(|error| format!("write: {error}"))?;
    lines.field("Echo", message.trim_end());
    let answer = answer(plan, &mut *stream).await?;
    if let Some(status) = answer.lines().find_map(|line| line.strip_prefix("StatusCode=")) {
        lines.field("StatusCode", status);
    }
    lines.body(id, &answer);
    Ok(())
}

async fn greeting(stream: &mut dyn Duplex) -> Result<(), String> {
    let mut greeting = vec![0; GREETING.len()];
    stream.read_exact(&mut greeting).await.map_err(|error| format!("read the server's greeting: {error}"))?;
    match greeting == GREETING.as_bytes() {
        true => Ok(()),
        false => Err(format!("the server's greeting is {:?}, not {GREETING:?}", String::from_utf8_lossy(&greeting))),
    }
}

/// Reads until the answer holds what is expected, or ends.
async fn answer(plan: &Plan, stream: &mut dyn Duplex) -> Result<String, String> {
    let mut answer = Vec::new();
    loop {
        let count = stream.read_buf(&mut answer).await.map_err(|error| format!("read: {error}"))?;
        let text = String::from_utf8_lossy(&answer);
        if text.contains(plan.expected.as_str()) {
            return Ok(text.into_owned());
        }
        if count == 0 || answer.len() > LARGEST {
            let shown: String = text.chars().take(200).collect();
            return Err(format!("the answer does not hold {:?}: {shown:?}", plan.expected));
        }
    }
}
