package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	edgeconfig "portico/edge/config"
	edge "portico/edge/node"
	relayconfig "portico/relay/config"
	relay "portico/relay/node"
	"portico/shared/certs"
	"portico/shared/identity"
	"portico/shared/logging"
	"portico/shared/program"
	"portico/tools/portico/manage"
)

// devOptions are the flags of dev.
type devOptions struct {
	http, media, turn, admin, data string
	level, format                  string
	tls                            bool
}

const devAbout = `Runs an edge and a relay on this machine until it is interrupted, and prints the address of the demo.
Everybody who can open that address is let into every room, so the pages are for this machine only unless
-http or -tls says otherwise. Browsers give camera and microphone to pages of this machine and to HTTPS only: for a
phone on the same network use -tls, which makes a certificate and an authority that the phone can be told to trust.`

// dev runs an edge and a relay in this process.
func dev(ctx context.Context, args []string, out, errOut io.Writer) error {
	var o devOptions
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.http, "http", "", "`address` of the pages, the portal and the management API (default 127.0.0.1:8080, with -tls 0.0.0.0:8080); port 0: any")
	flags.BoolVar(&o.tls, "tls", false, "HTTPS with a certificate made for this machine, for phones on the same network")
	flags.StringVar(&o.media, "media", "0.0.0.0:0", "UDP `address` of the edge's media; port 0: the same number as -http")
	flags.StringVar(&o.turn, "turn", "0.0.0.0:3478", "UDP and TCP `address` of the relay; port 0: any")
	flags.StringVar(&o.admin, "relay-admin", "127.0.0.1:8082", "`address` of the relay's page for operators; empty: none")
	flags.StringVar(&o.data, "data", defaultData, "`folder` for rooms and keys")
	flags.StringVar(&o.level, "log", "warn", "least `level` written: debug, info, warn or error")
	flags.StringVar(&o.format, "log-format", "text", "form of the log's lines: text or json")
	if err := parse(flags, args, out, devAbout); err != nil {
		return err
	}
	if o.http == "" {
		o.http = "127.0.0.1:8080"
		if o.tls {
			o.http = "0.0.0.0:8080"
		}
	}
	logs := logging.Options{Level: o.level, Format: o.format, Writer: errOut}
	if faults := logs.Check(); len(faults) > 0 {
		return fmt.Errorf("%w: -log %s", manage.ErrUsage, faults[0])
	}
	d, err := startDev(ctx, o, logging.New(logs))
	if err != nil {
		return err
	}
	d.announce(out)
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), program.StopWithin)
	defer cancel()
	return d.stop(stopping)
}

// development is the pair of nodes.
type development struct {
	edge      *edge.Node
	relay     *relay.Node
	authority string // file of the certificate authority made for -tls
}

func (d *development) announce(out io.Writer) {
	fmt.Fprintf(out, "\nPortico is running. Open the demo, in two tabs or more:\n\n    address=%s\n\n", d.edge.URL())
	if d.authority != "" {
		fmt.Fprintf(out, "Browsers warn of the certificate until they are told to trust its authority: install\n%s\non the phone, or go on past the warning.\n\n", d.authority)
	}
	fmt.Fprintln(out, "Stop it with Ctrl-C.")
}

// startDev starts the relay, which must know the edge's media addresses, and then the edge, which must know the relay's. The two are a
// cluster of their own, whose authority nobody else ever sees.
func startDev(ctx context.Context, o devOptions, log *slog.Logger) (*development, error) {
	cfg := edgeconfig.Dev()
	cfg.HTTP.Listen, cfg.HTTP.MediaListen, cfg.DataDir = o.http, o.media, o.data
	sockets, err := edge.Listen(cfg)
	if err != nil {
		return nil, devHint(err)
	}
	addrs := sockets.MediaAddrs()
	var r *relay.Node
	ids, err := identity.Ephemeral(identity.Edge, identity.Relay)
	if err == nil {
		r, err = relayFor(o, cfg.TURN.Secret, addrs, ids[1], log)
	}
	if err == nil {
		err = r.Start(ctx)
	}
	if err != nil {
		sockets.Close()
		return nil, devHint(err)
	}
	cfg.Identity, cfg.Relay.Nodes = ids[0], []string{r.Addrs().Link}
	cfg.TURN.URLs = turnURLs(addrs, r.Addrs())
	cfg.Portal.Hostname, cfg.Portal.CORS = names(o, sockets.Port(), addrs)
	authority := ""
	if o.tls {
		files, ca, err := certs.Local(filepath.Join(o.data, "tls"), hosts(addrs))
		if err != nil {
			sockets.Close()
			return nil, errors.Join(err, r.Stop(ctx))
		}
		cfg.TLS.CertFile, cfg.TLS.KeyFile, authority = files.Cert, files.Key, ca
	}
	e, err := edge.New(cfg, sockets, log.With("node", "edge"))
	if err == nil {
		err = e.Start(ctx)
	} else {
		sockets.Close()
	}
	if err != nil {
		return nil, errors.Join(devHint(err), r.Stop(ctx))
	}
	return &development{e, r, authority}, nil
}

func relayFor(o devOptions, secret string, edge []netip.AddrPort, id *identity.Identity, log *slog.Logger) (*relay.Node, error) {
	cfg := relayconfig.Dev(secret, ipv4(edge)...)
	cfg.Identity, cfg.Link.Listen = id, "127.0.0.1:0"
	cfg.TURN.UDP, cfg.TURN.TCP, cfg.TURN.TLS, cfg.Admin.Listen = o.turn, o.turn, "", o.admin
	return relay.New(cfg, log.With("node", "relay"))
}

// ipv4 keeps the addresses a relay can reach; there is always one, loopback.
func ipv4(addrs []netip.AddrPort) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() {
			list = append(list, a)
		}
	}
	return list
}

// turnURLs name the relay as browsers on this machine and beside it reach it.
func turnURLs(addrs []netip.AddrPort, at relay.Addrs) []string {
	host := "127.0.0.1"
	if v4 := ipv4(addrs); len(v4) > 0 {
		host = v4[0].Addr().String()
	}
	var urls []string
	for _, l := range []struct{ addr, format string }{
		{at.UDP, "stun:%s"}, {at.UDP, "turn:%s?transport=udp"}, {at.TCP, "turn:%s?transport=tcp"},
	} {
		if _, port, err := net.SplitHostPort(l.addr); err == nil {
			urls = append(urls, fmt.Sprintf(l.format, net.JoinHostPort(host, port)))
		}
	}
	return urls
}

// names are the host that the pages and tokens use, and the origins under which the same pages may be open.
func names(o devOptions, port int, addrs []netip.AddrPort) (host string, origins []string) {
	number, scheme := strconv.Itoa(port), "http://"
	if o.tls {
		scheme = "https://"
	}
	at, _, _ := net.SplitHostPort(o.http)
	ip, err := netip.ParseAddr(at)
	if err == nil && ip.IsLoopback() || at == "localhost" {
		host = net.JoinHostPort("localhost", number)
	}
	for _, name := range append([]string{"localhost", "127.0.0.1"}, hosts(addrs)...) {
		origins = append(origins, scheme+net.JoinHostPort(name, number))
	}
	return host, origins
}

func hosts(addrs []netip.AddrPort) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.Addr().String()
	}
	return list
}

// flagNames are dev's flags for the settings that errors of the nodes name.
var flagNames = strings.NewReplacer("http.listen", "-http", "http.media_listen", "-media", "turn.udp", "-turn", "turn.tcp", "-turn",
	"admin.listen", "-relay-admin", "data_dir", "-data")

// devHint tells an error of a node in the words of dev's flags.
func devHint(err error) error { return errors.New(flagNames.Replace(err.Error())) }

func (d *development) stop(ctx context.Context) error {
	return errors.Join(d.edge.Stop(ctx), d.relay.Stop(ctx))
}
