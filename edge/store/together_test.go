package store_test

import (
	"sync"
	"testing"

	"portico/edge/store"
)

// Edges of one machine that start together with a new database all get it.
func TestSQLiteMadeByManyAtOnce(t *testing.T) {
	for range 10 {
		dir := t.TempDir()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				s, err := store.OpenSQLite(t.Context(), dir, store.Limits{})
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = s.Close() }()
				if _, _, _, err := store.Bootstrap(t.Context(), s); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
