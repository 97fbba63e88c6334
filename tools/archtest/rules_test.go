package archtest

// browserPackages also build for the browser (craft: "[*]"): the client core and what it stands on. A folder stands for its
// subfolders.
var browserPackages = []string{
	"shared/jsonvalue", "shared/conference", "shared/layout", "shared/token", "shared/engineio", "shared/socketio",
	"shared/portalproto", "shared/wsconn", "shared/sioclient", "shared/client", "shared/rtp", "shared/task",
}

// purePackages do no I/O, start no goroutine and have no clock: time comes in as an argument, so that they are tested by tables and
// fuzzing and replayed exactly.
var purePackages = []string{
	"shared/jsonvalue", "shared/conference", "shared/layout", "shared/token", "shared/engineio", "shared/socketio",
	"shared/portalproto", "shared/rtp", "shared/meshproto", "shared/relayproto", "shared/placement", "shared/roster",
	"edge/sfu/layer", "edge/sfu/feedback", "edge/sfu/bitrate", "edge/sfu/speakers", "shared/flight", "relay/audiomix", "relay/videomix",
	"relay/payload", "relay/codec", "edge/mesh/directory",
}

// impureImports are what a pure package must do without.
var impureImports = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "syscall/js", "log", "log/slog",
	"crypto/rand", "math/rand", "math/rand/v2", "crypto/tls", "database/sql", "context"}

// impureTime are the functions of package time that read a clock or wait for it.
var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// forbiddenInBrowser must not be brought into the browser by any browserPackage, directly or through others. The sizes are what
// they add to the program, compressed.
var forbiddenInBrowser = map[string]string{
	"fmt":                             "120 kB; write with strconv and strings, errors with errors.New",
	"reflect":                         "comes with the packages that inspect values at run time; take jsonvalue",
	"encoding/json":                   "310 kB; take shared/jsonvalue",
	"net/http":                        "400 kB, crypto/tls with it; the browser has fetch",
	"net":                             "the browser has no sockets; the connection comes in as an interface",
	"net/url":                         "40 kB; the few addresses we read are cut with strings",
	"log/slog":                        "brings fmt, reflect and encoding/json; return errors, the application logs",
	"crypto/tls":                      "the browser does TLS itself",
	"os":                              "there is no operating system; files and variables come in as arguments",
	"text/template":                   "brings reflect and fmt",
	"regexp":                          "90 kB; cut with strings",
	"math/big":                        "only certificates and public keys need it, which are the browser's own business",
	"github.com/hashicorp/memberlist": "gossip is between nodes",
	"github.com/pion/turn/v3":         "relaying is a node's work",
	"github.com/pion/webrtc/v4":       "160 kB, and the browser has RTCPeerConnection, which wasm/browser binds itself",
	"nhooyr.io/websocket":             "440 kB through net/http; under js wsconn uses the browser's WebSocket",
	"portico/edge/sfu":                "forwarding is an edge's work",
}

// leaves are standard packages whose own imports do not count against a browserPackage.
var leaves = map[string]string{
	"encoding/binary": "only its byte orders are used, and the linker drops the rest with the reflection",
	"crypto/aes":      "as crypto/hmac",
	"crypto/cipher":   "as crypto/hmac",
	"crypto/hmac":     "reaches os for the system's random numbers; of ours only token uses it, which the client does not import",
	"crypto/sha1":     "as crypto/hmac",
	"crypto/sha256":   "as crypto/hmac",
	"crypto/sha512":   "as crypto/hmac",
	"crypto/subtle":   "as crypto/hmac",
}

// single lists the packages that may import a library, so that replacing it is one package's change. Names of ours without the
// module, libraries as a prefix of the import path. Subfolders of an importer count as it.
var single = []struct {
	library string
	by      []string
	reason  string
}{
	{"nhooyr.io/websocket", []string{"shared/wsconn"}, "its limits and closing rules are handled in one place, and the browser build does without it"},
	{"github.com/hashicorp/memberlist", []string{"shared/cluster"}, "its hooks run under its lock, which one package knows about"},
	{"github.com/pion/turn/", []string{"relay/turnserver"}, "it admits every peer; nothing may use it without our checks around it"},
	{"github.com/pion/webrtc/", []string{"tools/pionpeer"}, "the edge's connections are edge/peer's, which needs what it keeps to itself; natively it is only a client"},
	{"github.com/pion/ice/", []string{"edge/peer", "tools/loadtest", "tools/pionpeer"}, "connections are made in one place; the load generator's are its own, to be light"},
	{"github.com/pion/dtls/", []string{"edge/peer", "tools/loadtest"}, "as ICE"},
	{"github.com/pion/srtp/", []string{"edge/peer", "tools/loadtest"}, "contexts of SRTP must not be shared, which one package knows about"},
	{"github.com/quic-go/", []string{"edge/wt", "shared/link"}, "what a client may open is bounded in one place, and what a node may in another; nobody else needs it"},
	{"github.com/prometheus/", []string{"shared/metrics"}, "names are checked there, and parts only offer snapshots"},
	{"github.com/BurntSushi/toml", []string{"shared/config"}, "every settings file is read with the same faults"},
	{"software.sslmate.com/src/go-pkcs12", []string{"shared/certs"}, "key stores are read with one set of bounds and faults"},
	{"modernc.org/sqlite", []string{"edge/store"}, "everybody else sees the Store interface, behind which other databases stand"},
	{"github.com/jackc/pgx/", []string{"edge/store"}, "as SQLite"},
	{"portico/web", []string{"edge/console"}, "the files for browsers are served in one place, with one policy"},
	{"syscall/js", []string{"wasm", "shared/wsconn"}, "references to JavaScript values have to be released, which the binding takes care of"},
}

// layers lists what each package of a node may import of the same node, besides its own folder: imports run downward. A package that
// is not here imports nothing of its node.
var layers = map[string][]string{
	"edge":            {"edge/config", "edge/node"},
	"edge/node":       {"edge/"},
	"edge/portal":     {"edge/room", "edge/sioserver", "edge/store"},
	"edge/restapi":    {"edge/room", "edge/store"},
	"edge/clusterapi": {"edge/store"}, // the keys of services
	"edge/mesh":       {"edge/peers"},
	"edge/peer":       {"edge/tcpdoor"},
	"edge/rtc":        {"edge/peer", "edge/sfu", "edge/tcpdoor"},
	"edge/cascade":    {"edge/room", "edge/rtc", "edge/sfu"}, // as jobs
	"edge/conduit":    {"edge/wt"},
	"edge/jobs":       {"edge/room", "edge/rtc", "edge/sfu"}, // what goes to relays is tapped, what comes is forwarded

	"relay":           {"relay/config", "relay/node", "relay/worker"}, // a program that holds a relay is a job's too
	"relay/node":      {"relay/"},
	"relay/config":    {"relay/turnserver"}, // the syntax of peers is turnserver's
	"relay/worker":    {"relay/pipeline", "relay/transcode", "relay/record", "relay/streamin", "relay/streamout", "relay/codec"},
	"relay/pipeline":  {"relay/codec", "relay/audiomix", "relay/videomix", "relay/payload"},
	"relay/videomix":  {"relay/codec"},
	"relay/transcode": {"relay/pipeline", "relay/codec"},
	"relay/record":    {"relay/pipeline", "relay/codec"},
	"relay/streamin":  {"relay/pipeline", "relay/codec"},
	"relay/streamout": {"relay/pipeline", "relay/codec"},
}

// topLevel is everything at the top of the tree, besides names that begin with a dot.
var topLevel = []string{"LICENSE", "Makefile", "README.md", "edge", "go.mod", "go.sum", "relay", "shared", "tools", "wasm", "web"}

// machinePaths and registries must not stand in any file: the first are true on one machine only, the second belong to the settings of
// whoever builds (a lock file that names one fails where another is used). Written in parts, because this file is read too.
var (
	machinePaths = []string{"/wo" + "rk/", "/ro" + "ot/"}
	registries   = []string{"registry." + "npmjs.org", "registry." + "yarnpkg.com", "proxy." + "golang.org", "sum." + "golang.org"}
)
