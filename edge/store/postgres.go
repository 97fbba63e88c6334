package store

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	postgresConnections = 8 // of one edge: a server has 100 by default, for all
	postgresIdle        = 2
	connectLimit        = 1500 * time.Millisecond // for each address, within CallLimit
	startLimit          = 10 * time.Second        // of the first call, which may have to make the tables
)

// newPostgres makes the store without asking the server: begin does, or else the first call.
func newPostgres(at string, o Options) (*sqlStore, error) {
	config, err := pgx.ParseConfig(at)
	if err != nil {
		return nil, errors.New("store: store.url is not a PostgreSQL address as postgres://USER:PASSWORD@HOST:5432/DATABASE: " + parseFault(err))
	}
	key, err := clusterKeyFile(o.KeyFile)
	if err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectLimit {
		config.ConnectTimeout = connectLimit
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "portico"
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresIdle)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(10 * time.Minute) // so that edges find their way back after a server was replaced
	server := "PostgreSQL at " + net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	return newStore(db, db, key, o.Limits, dialect{
		server: server, limit: CallLimit, skipLocked: ` FOR UPDATE SKIP LOCKED`, away: postgresAway, transient: postgresTransient, unfit: postgresUnfit,
	})
}

func clusterKeyFile(path string) ([]byte, error) {
	const advice = "make one with openssl rand -hex 32, and copy it to every edge of the cluster"
	if path == "" {
		return nil, errors.New("store: store.key_file is not set: PostgreSQL needs a file with the key that seals secrets; " + advice)
	}
	key, err := keyFile(path, false)
	switch {
	case isMissing(path):
		return nil, fmt.Errorf("store: key file %s (store.key_file) is missing: copy it from another edge, or for a new cluster %s", path, advice)
	case err != nil:
		return nil, fmt.Errorf("store: %w", err)
	}
	return key, nil
}

// begin makes the first call: it brings the tables up to date and checks the key file. Its errors are for whoever starts the edge.
func (s *sqlStore) begin(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := s.again(within, func() error { return s.prepare(within) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnseal):
		return fmt.Errorf("store: %s was begun with another key: copy the file store.key_file from an edge that works", s.server)
	case ctx.Err() != nil:
		return fmt.Errorf("store: %s: %w", s.server, ctx.Err())
	case misconfigured(err):
		return fmt.Errorf("store: %s refuses: %s: correct store.url, or the server", s.server, fault(err))
	case within.Err() != nil || postgresAway(err):
		return fmt.Errorf("store: %w: start it, or correct store.url", &awayError{s.server, fault(err)})
	}
	return fmt.Errorf("store: %s: %s", s.server, oneLine(err))
}

// Classes and codes of PostgreSQL's errors (its manual, appendix A).
var (
	awayCodes      = []string{"57P01", "57P02", "57P03", "57P05", "53300", "25006"} // stopping, crashed, starting, idle for too long, too many clients, a replica
	transientCodes = []string{"40001", "40P01", "23505", "42P07", "42710"}          // others were quicker; the last three only happen to who makes tables
)

func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// postgresAway tells that the server, or the way to it, is at fault and not the call.
func postgresAway(err error) bool {
	if c := code(err); c != "" {
		_, connecting := errors.AsType[*pgconn.ConnectError](err)
		return connecting || strings.HasPrefix(c, "08") || slices.Contains(awayCodes, c)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	for _, lost := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, pgconn.ErrConnClosed, net.ErrClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

func postgresTransient(err error) bool { return slices.Contains(transientCodes, code(err)) }

// postgresUnfit tells that an argument is no text: with a zero byte, or not UTF-8. Nothing can be stored under it.
func postgresUnfit(err error) bool { return code(err) == "22021" }

// misconfigured tells that waiting for the server will not help: no such user, password or database.
func misconfigured(err error) bool {
	c := code(err)
	return strings.HasPrefix(c, "28") || c == "3D000"
}

// fault is what went wrong in a few words, without the list of everything that was tried.
func fault(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Message
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return oneLine(err)
}

// parseFault is the driver's reason without the address or parts of it, among which a password may be.
func parseFault(err error) string {
	_, reason, _ := strings.Cut(err.Error(), "`: ")
	reason, _, _ = strings.Cut(reason, " (")
	if reason == "" {
		return "it cannot be read"
	}
	return oneLine(errors.New(reason))
}
