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
	"slices"
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
	edges                          int
}

const devAbout = `Runs an edge and a relay on this machine until it is interrupted, and prints the address of the demo.
Everybody who can open that address is let into every room, so the pages are for this machine only unless
-http or -tls says otherwise. Browsers give camera and microphone to pages of this machine and to HTTPS only: for a
phone on the same network use -tls, which makes a certificate and an authority that the phone can be told to trust.`

// maxEdges is how many edges dev runs: it is one process.
const maxEdges = 8

// dev runs edges and a relay in this process.
func dev(ctx context.Context, args []string, out, errOut io.Writer) error {
	var o devOptions
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.http, "http", "", "`address` of the pages, the portal and the management API (default 127.0.0.1:8080, with -tls 0.0.0.0:8080); port 0: any")
	flags.BoolVar(&o.tls, "tls", false, "HTTPS with a certificate made for this machine, for phones on the same network")
	flags.StringVar(&o.media, "media", "0.0.0.0:0", "UDP `address` of the edge's media; port 0: the same number as -http")
	flags.StringVar(&o.turn, "turn", "0.0.0.0:3478", "UDP and TCP `address` of the relay; port 0: any")
	flags.StringVar(&o.admin, "relay-admin", "127.0.0.1:8082", "`address` of the relay's page for operators; empty: none. With more than two edges the default moves on, to the port after theirs")
	flags.StringVar(&o.data, "data", defaultData, "`folder` for rooms and keys")
	flags.IntVar(&o.edges, "edges", 1, "`number` of edges; more than one are a cluster, each on the port after the one before, with rooms that span them")
	flags.StringVar(&o.level, "log", "warn", "least `level` written: debug, info, warn or error")
	flags.StringVar(&o.format, "log-format", "text", "form of the log's lines: text or json")
	if err := parse(flags, args, out, devAbout); err != nil {
		return err
	}
	if o.edges < 1 || o.edges > maxEdges {
		return fmt.Errorf("%w: -edges is a number from 1 to %d", manage.ErrUsage, maxEdges)
	}
	chosen := false
	flags.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "relay-admin" })
	if o.edges > 2 && !chosen { // its usual port is one of theirs
		o.admin = "127.0.0.1:" + strconv.Itoa(8080+o.edges)
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

// development is the nodes that run.
type development struct {
	edges     []*edge.Node
	relay     *relay.Node
	authority string // file of the certificate authority made for -tls
}

func (d *development) announce(out io.Writer) {
	fmt.Fprintf(out, "\nPortico is running. Open the demo, in two tabs or more:\n\n    address=%s\n\n", d.edges[0].URL())
	if len(d.edges) > 1 {
		fmt.Fprintln(out, "The other edges have the same rooms; open some tabs there:")
		fmt.Fprintln(out)
		for _, e := range d.edges[1:] {
			fmt.Fprintf(out, "    %s  %s\n", e.URL(), e.Self())
		}
		fmt.Fprintf(out, "\nportico cluster status shows what is where, portico cluster drain %s what happens then.\n\n", d.edges[0].Self())
	}
	if d.authority != "" {
		fmt.Fprintf(out, "Browsers warn of the certificate until they are told to trust its authority: install\n%s\non the phone, or go on past the warning.\n\n", d.authority)
	}
	fmt.Fprintln(out, "Stop it with Ctrl-C.")
}

// startDev starts the relay, which must know the edges' media addresses, and then the edges, which must know the relay. They are a
// cluster of their own, whose authority nobody else ever sees.
func startDev(ctx context.Context, o devOptions, log *slog.Logger) (d *development, err error) {
	b := &devBuilder{o: o, log: log, d: &development{}, secret: edgeconfig.Dev().TURN.Secret}
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(devHint(err), b.d.stop(ctx))
		for _, s := range b.sockets {
			s.Close() // again, if a node had them
		}
	}()
	if b.ids, err = identity.Ephemeral(append(slices.Repeat([]string{identity.Edge}, o.edges), identity.Relay)...); err != nil {
		return nil, err
	}
	if o.edges > 1 {
		b.cluster = identity.NewSecret()
	}
	if err := b.listen(); err != nil {
		return nil, err
	}
	if err := b.startRelay(ctx); err != nil {
		return nil, err
	}
	for i := range b.configs {
		if err := b.startEdge(ctx, i); err != nil {
			return nil, err
		}
	}
	return b.d, nil
}

// devBuilder makes a development.
type devBuilder struct {
	o       devOptions
	log     *slog.Logger
	d       *development
	ids     []*identity.Identity // of the edges, and of the relay last
	secret  string               // of TURN
	cluster identity.Secret      // nil: one edge, no cluster
	configs []*edgeconfig.Settings
	sockets []*edge.Sockets
	addrs   []netip.AddrPort // of the edges' media
	seeds   []string
}

// listen opens the ports of all edges.
func (b *devBuilder) listen() error {
	for i := range b.o.edges {
		cfg := edgeconfig.Dev()
		cfg.TURN.Secret = b.secret
		var err error
		if cfg.HTTP.Listen, err = after(b.o.http, i); err != nil {
			return err
		}
		if cfg.HTTP.MediaListen, err = after(b.o.media, i); err != nil {
			return err
		}
		cfg.DataDir = b.o.data
		if b.cluster != nil {
			cfg.Store.URL, cfg.DataDir = "sqlite:"+b.o.data, filepath.Join(b.o.data, b.ids[i].Name)
		}
		s, err := edge.Listen(cfg)
		if err != nil {
			return err
		}
		b.configs, b.sockets = append(b.configs, cfg), append(b.sockets, s)
		b.addrs = append(b.addrs, s.MediaAddrs()...)
	}
	return nil
}

// after is an address with a port so many after it; 0 stays.
func after(address string, n int) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || n == 0 || port == "0" {
		return address, nil // what is wrong is told when it is listened on
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", fmt.Errorf("%w: %q has no number for a port, which more than one edge need", manage.ErrUsage, address)
	}
	return net.JoinHostPort(host, strconv.Itoa(number+n)), nil
}

func (b *devBuilder) startRelay(ctx context.Context) error {
	cfg := relayconfig.Dev(b.secret, ipv4(b.addrs)...)
	cfg.Identity, cfg.Link.Listen = b.ids[len(b.ids)-1], "127.0.0.1:0"
	cfg.TURN.UDP, cfg.TURN.TCP, cfg.TURN.TLS, cfg.Admin.Listen = b.o.turn, b.o.turn, "", b.o.admin
	if b.cluster != nil {
		cfg.Secret = b.cluster.ForRelays()
		cfg.Cluster.Listen, cfg.Cluster.Profile, cfg.Cluster.DrainTimeout = "127.0.0.1:0", devProfile, 0
	}
	r, err := relay.New(cfg, b.log.With("node", "relay"))
	if err != nil {
		return err
	}
	if err := r.Start(ctx); err != nil {
		return err
	}
	b.d.relay = r
	if b.cluster != nil {
		b.seeds = append(b.seeds, r.GossipAddr())
	}
	return nil
}

const devProfile = "local"

func (b *devBuilder) startEdge(ctx context.Context, i int) error {
	cfg, sockets := b.configs[i], b.sockets[i]
	addrs := sockets.MediaAddrs()
	cfg.Identity, cfg.Relay.Nodes = b.ids[i], []string{b.d.relay.Addrs().Link}
	cfg.TURN.URLs = turnURLs(addrs, b.d.relay.Addrs())
	cfg.Portal.Hostname, cfg.Portal.CORS = names(b.o, sockets.Port(), addrs)
	if cfg.Secret = b.cluster; b.cluster != nil {
		cfg.Cluster.Listen, cfg.Cluster.Profile, cfg.Cluster.Seeds, cfg.Cluster.DrainTimeout = "127.0.0.1:0", devProfile, b.seeds, 0
		for _, other := range b.sockets { // pages of one edge go on with another
			_, origins := names(b.o, other.Port(), addrs)
			cfg.Portal.CORS = append(cfg.Portal.CORS, origins...)
		}
	}
	if b.o.tls {
		files, ca, err := certs.Local(filepath.Join(b.o.data, "tls"), hosts(addrs))
		if err != nil {
			return err
		}
		cfg.TLS.CertFile, cfg.TLS.KeyFile, b.d.authority = files.Cert, files.Key, ca
	}
	e, err := edge.New(cfg, sockets, b.log.With("node", b.ids[i].Name))
	if err != nil {
		return err
	}
	if err := e.Start(ctx); err != nil {
		return err
	}
	b.d.edges = append(b.d.edges, e)
	if b.cluster != nil {
		b.seeds = append(b.seeds, e.GossipAddr())
	}
	return nil
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
	var errs []error
	for _, e := range d.edges {
		errs = append(errs, e.Stop(ctx))
	}
	if d.relay != nil {
		errs = append(errs, d.relay.Stop(ctx))
	}
	return errors.Join(errs...)
}
