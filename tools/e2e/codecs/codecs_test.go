//go:build unix

package codecs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"portico/shared/jsonvalue"
	"portico/tools/chromium"
	"portico/tools/edgetest"
	"portico/tools/portico/manage"
)

// perFile is the longest that one file of tests may take, on a slow machine with everything else running.
const perFile = 3 * time.Minute

// TestCodecs: VP8, VP9, H.264 and AV1, VP9 and AV1 also with layers inside, are seen by who comes in the middle.
func TestCodecs(t *testing.T) { run(t, "codecs", 12, roomOptions) }

// TestT_97_Simulcast: `from` is a track id, or the layer is named as in version 1.1, and the picture has its size.
func TestT_97_Simulcast(t *testing.T) { run(t, "simulcast", 3, roomOptions) }

// TestT_98_TwoStreams: audio of one stream and video of another in one subscription; and m-lines used again.
func TestT_98_TwoStreams(t *testing.T) { run(t, "streams", 5, roomOptions) }

// TestLosses: what is lost between Chromium and the edge comes again, both ways.
func TestLosses(t *testing.T) { run(t, "losses", 2, roomOptions) }

// TestLayers: layers change with the size of what is displayed, and the picture goes on all the time.
func TestLayers(t *testing.T) {
	run(t, "layers", 16, `{"enableBandwidthAdaptation": true, `+roomOptions[1:])
}

// run starts an edge with a room and runs one file of browser tests with the tokens of so many participants, and with the port of a
// line to the edge that loses packets.
func run(t *testing.T, name string, participants int, room string) {
	t.Helper()
	port, api, room := startEdge(t, room)
	var tokens []string
	for i := range participants {
		token, err := api.CreateToken(t.Context(), room, fmt.Sprintf("user%d", i), "presenter", manage.Place{})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	list, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	_, env := chromium.Prepare(t)
	env = append(env, fmt.Sprintf("PORTICO_URL=http://127.0.0.1:%d", port), "PORTICO_TOKENS="+string(list), fmt.Sprintf("LOSSY_PORT=%d", lossy(t, port)))
	chromium.Run(t, perFile, env, name+".test.mjs")
}

// roomOptions let every codec in that the edge forwards.
const roomOptions = `{"mediaIn": {"audio": [{"codec": "opus", "sampleRate": 48000, "channelNum": 2}],
	"video": [{"codec": "h264"}, {"codec": "vp8"}, {"codec": "vp9"}, {"codec": "av1"}]}}`

// startEdge runs an edge with a room of those options until the test ends.
func startEdge(t *testing.T, roomOptions string) (port int, api *manage.Client, room string) {
	t.Helper()
	edge := edgetest.Start(t, slog.LevelWarn, nil)
	api, err := manage.New(edge.Service(t))
	if err != nil {
		t.Fatal(err)
	}
	options, err := jsonvalue.Parse([]byte(roomOptions), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	created, err := api.CreateRoom(t.Context(), "codecs", options)
	if err != nil {
		t.Fatal(err)
	}
	return edge.Port, api, created.Get("_id").Text()
}
