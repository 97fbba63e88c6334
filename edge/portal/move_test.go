package portal

import (
	"strings"
	"testing"
	"time"
)

// TestStay: who is away while an edge drains, and comes back after the drain was cancelled, is not asked to go; all else that it has missed it
// is told, in order.
func TestStay(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		a, _ := newTown(t, object)
		c := a.connect()
		ticket := answered(t, c.request("login", strings.Replace(login(a.token("anna", "presenter", 0)), `"protocol"`, `"migrate":true,"protocol"`, 1))).
			Get("reconnectionTicket").Text()
		c.opened()
		a.joined("bob", "presenter")
		c.h.Closed("lost")
		if n := a.portal.Move(10 * time.Second); n != 1 {
			t.Fatalf("%d are to move", n)
		}
		a.joined("carol", "presenter")
		if cancelled {
			a.portal.Stay()
		}
		missed := answered(t, a.connect().request("relogin", restoring(ticket))).Get("messages")
		var events []string
		for i := range missed.Len() {
			events = append(events, missed.Index(i).Get("event").Text())
		}
		want := "text participant move participant"
		if cancelled {
			want = "text participant participant"
		}
		if got := strings.Join(events, " "); got != want {
			t.Errorf("cancelled: %t: missed %q", cancelled, got)
		}
		a.portal.mu.Lock()
		for _, p := range a.portal.participants {
			p.mu.Lock()
			size := 0
			for _, k := range p.kept {
				size += k.size
			}
			if p.size != size {
				t.Errorf("%d bytes are counted, and %d kept", p.size, size)
			}
			p.mu.Unlock()
		}
		a.portal.mu.Unlock()
	}
}
