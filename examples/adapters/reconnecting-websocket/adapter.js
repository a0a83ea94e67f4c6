// reconnecting-websocket on `ws`, as the README shows it ("Sample with custom options"), with the
// defaults of every option.

import { createRequire } from "node:module";
import ReconnectingWebSocket from "reconnecting-websocket";
import WS from "ws";

const { version } = createRequire(import.meta.url)("reconnecting-websocket/package.json");
const channels = JSON.parse(process.env.SQUALL_CHANNELS);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

say({ event: "ready", commands: [], version });
const socket = new ReconnectingWebSocket(process.env.SQUALL_URL, [], { WebSocket: WS });

socket.addEventListener("open", () => {
  say({ event: "state", state: "connected" });
  const params = { channels };
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "public/subscribe", params }));
});

socket.addEventListener("close", (event) =>
  say({ event: "state", state: "disconnected", reason: `closed with ${event.code}` }),
);

socket.addEventListener("message", (event) => {
  const message = JSON.parse(event.data);
  if (message.method !== "subscription") return;
  const { channel, data } = message.params;
  const seq = Array.isArray(data) ? data.at(-1).trade_seq : data.change_id ?? null;
  say({ event: "message", channel, seq });
});

process.stdin.on("end", () => socket.close()).resume();
