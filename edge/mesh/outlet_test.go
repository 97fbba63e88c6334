package mesh

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/placement"
)

// held is a call on which nothing gets through until it is let go.
type held struct {
	sent chan []byte
	open chan struct{}
}

func (h *held) Send(b []byte) error {
	<-h.open
	h.sent <- b
	return nil
}
func (h *held) Close() {}
func (h *held) Receive(ctx context.Context) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestOutletIsBounded(t *testing.T) {
	for _, lasts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := New(Options{Self: placement.Name{ID: "a", Boot: 1}, network: sink{}})
			h := &held{sent: make(chan []byte, 10), open: make(chan struct{})}
			failed := 0
			o := &outlet{mesh: m, limit: 3, lasts: lasts, call: h, failed: func(error) { failed++ }}
			o.encode = func(batch []any) (list [][]byte, err error) {
				for _, b := range batch {
					list = append(list, []byte(b.(string)))
				}
				return list, nil
			}
			o.push("1")
			synctest.Wait() // it waits to be sent
			for i, text := range []string{"2", "3", "4", "5"} {
				if ok := o.push(text); ok != (lasts || i < 3) {
					t.Errorf("lasts %t: %s is taken: %t", lasts, text, ok)
				}
			}
			o.finish()
			close(h.open)
			synctest.Wait()
			got := ""
			for len(h.sent) > 0 {
				got += string(<-h.sent)
			}
			if want := map[bool]string{false: "1234", true: "1345"}[lasts]; got != want {
				t.Errorf("lasts %t: sent %s, not %s", lasts, got, want)
			}
			if n := m.Stats().Shed; n != map[bool]uint64{true: 1}[lasts] || failed != 0 {
				t.Errorf("lasts %t: %d shed, failed %d times", lasts, n, failed)
			}
			m.Close()
			m.Close()
		})
	}
}

// TestOutletFails has a call fail: what follows is dropped, or goes over another call.
func TestOutletFails(t *testing.T) {
	for _, lasts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := New(Options{Self: placement.Name{ID: "a", Boot: 1}, network: sink{}})
			opened, failed := 0, 0
			o := &outlet{mesh: m, limit: 3, lasts: lasts, failed: func(error) { failed++ }}
			o.encode = func([]any) ([][]byte, error) { return [][]byte{{1}}, nil }
			o.open = func(context.Context, []byte) (call, error) {
				opened++
				return nil, errors.New("no")
			}
			for range 3 {
				o.push("x")
				synctest.Wait()
			}
			if want := map[bool]int{false: 1, true: 3}[lasts]; opened != want || failed != want {
				t.Errorf("lasts %t: opened %d, failed %d", lasts, opened, failed)
			}
			m.Close()
		})
	}
}

func TestTokens(t *testing.T) {
	var k tokens
	k.init(time.Minute)
	now := time.Unix(1_000_000, 0)
	for i, c := range []struct {
		id, request string
		created     time.Time
		want        bool
	}{
		{"t", "r1", now, true},
		{"t", "r1", now, true}, // its answer got lost
		{"t", "r2", now, false},
		{"old", "r3", now.Add(-2 * time.Minute), false},
		{"u", "", now, true},
		{"u", "", now, false},
	} {
		if got := k.use(c.id, c.request, c.created, now); got != c.want {
			t.Errorf("%d: %t", i, got)
		}
	}
}
