// gorilla/websocket, used as its example client (examples/echo/client.go) does. The library does
// not reconnect, nor do its documents say how: main wraps the client in the shortest loop there is.
package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

type object = map[string]any

var version, stdout = "", json.NewEncoder(os.Stdout) // the Makefile sets the version

func seq(data any) any {
	if trades, many := data.([]any); many {
		return trades[len(trades)-1].(object)["trade_seq"]
	}
	return data.(object)["change_id"]
}

func client(ctx context.Context) error {
	c, _, err := websocket.DefaultDialer.DialContext(ctx, os.Getenv("SQUALL_URL"), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	stdout.Encode(object{"event": "state", "state": "connected"})
	params := object{"channels": json.RawMessage(os.Getenv("SQUALL_CHANNELS"))}
	c.WriteJSON(object{"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params})
	defer context.AfterFunc(ctx, func() {
		goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		c.WriteMessage(websocket.CloseMessage, goodbye)
		c.SetReadDeadline(time.Now().Add(time.Second))
	})()
	for {
		var message struct{ Params object }
		if err := c.ReadJSON(&message); err != nil {
			return err
		}
		if channel, data := message.Params["channel"], message.Params["data"]; channel != nil {
			stdout.Encode(object{"event": "message", "channel": channel, "seq": seq(data)})
		}
	}
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	go func() { io.Copy(io.Discard, os.Stdin); stop() }()
	stdout.Encode(object{"event": "ready", "commands": []string{}, "version": version})
	for ctx.Err() == nil {
		err := client(ctx)
		stdout.Encode(object{"event": "state", "state": "disconnected", "reason": err.Error()})
		time.Sleep(time.Second)
	}
}
