//! tokio-tungstenite, used as its example client (examples/autobahn-client.rs) does. The library
//! does not reconnect, nor do its documents say how: `watch` is the shortest loop there is.

use std::{env, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::{connect_async, tungstenite::Result};

fn say(event: Value) {
    println!("{event}");
}

fn seq(data: &Value) -> Option<&Value> {
    let last = data.as_array().and_then(|many| many.last()).unwrap_or(data);
    last.get("trade_seq").or(last.get("change_id"))
}

async fn client() -> Result<()> {
    let (mut socket, _) = connect_async(env::var("SQUALL_URL").unwrap()).await?;
    say(json!({"event": "state", "state": "connected"}));
    let channels: Value = serde_json::from_str(&env::var("SQUALL_CHANNELS").unwrap()).unwrap();
    let params = json!({"channels": channels});
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params});
    socket.send(subscribe.to_string().into()).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if !message.is_text() {
            continue;
        }
        let message: Value = serde_json::from_str(message.to_text()?).unwrap();
        if message["method"] == "subscription" {
            let (channel, data) = (&message["params"]["channel"], &message["params"]["data"]);
            say(json!({"event": "message", "channel": channel, "seq": seq(data)}));
        }
    }
    Ok(())
}

async fn watch() {
    loop {
        let reason = format!("{:?}", client().await);
        say(json!({"event": "state", "state": "disconnected", "reason": reason}));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    say(json!({"event": "ready", "commands": [], "version": env!("CARGO_PKG_VERSION")}));
    let mut stdin = tokio::io::stdin();
    let mut rest = Vec::new();
    tokio::select! {
        () = watch() => {}
        _ = stdin.read_to_end(&mut rest) => {}
    }
}
