package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A dialect is what PostgreSQL needs otherwise than SQLite, whose dialect is the zero value.
type dialect struct {
	server     string        // what to call the server in errors
	limit      time.Duration // of a call; 0: as long as the caller waits
	skipLocked string        // ends a SELECT of rows to delete, so that none is waited for
	// Each tells what an error means; nil never does.
	away, transient, unfit func(error) bool
}

func says(is func(error) bool, err error) bool { return is != nil && is(err) }

// attempts is how often a call is made while the database says that it disturbed another and should be made again.
const attempts = 10

// do makes a call of the store: it bounds its time, prepares the database when that could not be done before, repeats what the
// database wants repeated, and makes errors what callers can act on.
func do[T any](ctx context.Context, s *sqlStore, attempt string, call func(context.Context) (T, error)) (T, error) {
	within, cancel := s.within(ctx)
	defer cancel()
	var value T
	err := s.again(within, func() error {
		err := s.prepare(within)
		if err == nil {
			value, err = call(within)
		}
		return err
	})
	if err != nil {
		var none T
		return none, s.wrap(ctx, within, attempt, err)
	}
	return value, nil
}

// run is do for calls without a result.
func (s *sqlStore) run(ctx context.Context, attempt string, call func(context.Context) error) error {
	_, err := do(ctx, s, attempt, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

func (s *sqlStore) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.limit)
}

// prepare brings the tables up to date and checks the key, the first time that it succeeds.
func (s *sqlStore) prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	select {
	case s.preparing <- struct{}{}:
		defer func() { <-s.preparing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.prepared.Load() {
		return nil
	}
	err := s.migrate(ctx)
	if err == nil {
		err = s.checkKey(ctx)
	}
	s.prepared.Store(err == nil)
	return err
}

// again repeats the call while it fails only because of others at the same rows; each time it waits a little longer.
func (s *sqlStore) again(ctx context.Context, call func() error) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	<-wait.C
	for try := 1; ; try++ {
		err := call()
		if try == attempts || !says(s.transient, err) {
			return err
		}
		wait.Reset(time.Duration(rand.Int64N(int64(try) * int64(10*time.Millisecond))))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return err
		}
	}
}

// transaction runs fn and commits, or rolls back when it fails. The call that it is a part of may be made again, and fn with it.
func (s *sqlStore) transaction(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// wrap names the failed attempt; the package's own errors stay comparable, and so is the caller's when it gave up. A missing row, or an
// id that the database cannot even hold, becomes ErrNotFound.
func (s *sqlStore) wrap(caller, within context.Context, attempt string, err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows), says(s.unfit, err):
		err = ErrNotFound
	case caller.Err() != nil:
		if !errors.Is(err, caller.Err()) {
			err = fmt.Errorf("%w (%w)", caller.Err(), err)
		}
	case within.Err() != nil:
		err = &awayError{s.server, "no answer within " + s.limit.String()}
	case says(s.away, err):
		err = &awayError{s.server, fault(err)}
	}
	return fmt.Errorf("store: %s: %w", attempt, err)
}

// awayError is ErrAway with what happened. It is nothing else: that the connection had a time limit is not the caller's.
type awayError struct{ server, cause string }

func (e *awayError) Error() string        { return e.server + " does not answer: " + e.cause }
func (e *awayError) Is(target error) bool { return target == ErrAway }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
