//! WebSocket calls: one message there, one back.

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{
    connect::{chain, connect},
    plan::Plan,
};
use crate::echo::lines::Lines;

pub(super) async fn call(plan: &Plan, id: usize, lines: &mut Lines) -> Result<(), String> {
    let stream = connect(plan).await?.stream;
    let mut request = plan.url.clone().into_client_request().map_err(|error| error.to_string())?;
    let host = HeaderValue::from_str(&plan.authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().extend(plan.headers.clone());
    lines.headers("Header", &plan.headers);
    let failed = |error: tokio_tungstenite::tungstenite::Error| format!("websocket: {}", chain(&error));
    let (mut socket, response) = client_async(request, stream).await.map_err(failed)?;
    lines.headers("ResponseHeader", response.headers());
    socket.send(Message::text(plan.message())).await.map_err(failed)?;
    let answer = socket.next().await.ok_or("websocket: closed before an answer")?.map_err(failed)?;
    let answer = answer.into_text().map_err(failed)?;
    lines.field("StatusCode", 200);
    lines.body(id, &answer);
    let _ = socket.close(None).await;
    Ok(())
}
