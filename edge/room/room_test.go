package room

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func TestT_39_JoinIsToldToOthersOnly(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, j := h.join("b", "presenter")
	wantAll(t, "a", a.take(), `participant {"action":"join","data":{"id":"b","user":"user-b","role":"presenter"}}`)
	wantAll(t, "b", b.take())
	if len(j.Participants) != 2 || j.Participants[1].ID != "b" || len(j.Streams) != 1 || j.Streams[0].ID != roomID+"-common" || !slices.Equal(j.Views, []string{"common"}) {
		t.Errorf("joined: %+v", j)
	}
}

func TestT_28_29_JoinRefused(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.ParticipantLimit = 1 })
	ctx := t.Context()
	_, err := h.d.Join(ctx, Join{Room: roomID, Participant: "x", Role: "nope", Member: &fakeMember{}})
	wantText(t, "role", err, "Invalid role")
	h.join("a", "presenter")
	_, err = h.d.Join(ctx, Join{Room: roomID, Participant: "b", Role: "presenter", Member: &fakeMember{}})
	wantText(t, "second", err, "Room is full")
	_, err = h.d.Join(ctx, Join{Room: "ffffffffffffffffffffffff", Participant: "b", Role: "presenter", Member: &fakeMember{}})
	wantText(t, "unknown room", err, "Joining room failed")
}

func TestT_70_71_72_Text(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	c, _ := h.join("c", "viewer")
	a.take()
	b.take()
	if err := h.d.Text(t.Context(), roomID, "a", "all", jsonvalue.Of("hi")); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*fakeMember{a, b, c} {
		wantAll(t, "to all", m.take(), `text {"from":"a","to":"all","message":"hi"}`)
	}
	if err := h.d.Text(t.Context(), roomID, "a", "b", jsonvalue.OfObject(jsonvalue.M("k", jsonvalue.OfInt(1)))); err != nil {
		t.Fatal(err)
	}
	wantAll(t, "to b", b.take(), `text {"from":"a","to":"me","message":{"k":1}}`)
	wantAll(t, "not to c", c.take())
	wantText(t, "nobody", h.d.Text(t.Context(), roomID, "a", "nobody", jsonvalue.Of("x")), "Target participant does NOT exist: nobody")
	wantText(t, "admin", h.d.Text(t.Context(), roomID, "a", "admin", jsonvalue.Of("x")), "<nil>")
}

func TestT_136_LeaveBeforeRemove(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	a.take()
	b.take()
	h.d.Leave(t.Context(), roomID, "a")
	wantAll(t, "b", b.take(), `participant {"action":"leave","data":"a"}`,
		`progress {"id":"`+ack.ID+`","sessionId":"`+ack.ID+`","status":"error","data":"Source stream loss"}`,
		`stream {"id":"`+s+`","status":"remove"}`)
	wantAll(t, "nothing to the leaver", a.take())
	h.settle()
	if calls := h.media.seen(); !slices.Contains(calls, "close a") {
		t.Errorf("media of the leaver was not closed: %v", calls)
	}
	h.d.Leave(t.Context(), roomID, "a") // again: no effect
	wantAll(t, "b", b.take())
}

func TestSessionLimit(t *testing.T) {
	h := newHouse(t, nil)
	h.d.options.Limits.Sessions = 2
	h.join("a", "presenter")
	s := h.publishAV("a")
	if _, err := h.d.Subscribe(t.Context(), roomID, "a", av(s)); err != nil {
		t.Fatal(err)
	}
	ack, err := h.d.Subscribe(t.Context(), roomID, "a", av(s))
	wantText(t, "third", err, "Too many sessions")
	if ack.ID != "" {
		t.Errorf("ack %+v", ack)
	}
}

func TestC_61_Destroy(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	s := h.publishAV("a")
	a.take()
	h.d.Destroy(roomID)
	wantAll(t, "owner", a.take(), `progress {"id":"`+s+`","sessionId":"`+s+`","status":"error","data":"Owner leave"}`)
	if !a.dropped {
		t.Error("the participant was not dropped")
	}
}

// A session whose owner leaves while its media is being opened must not stay open.
func TestLeaveWhileOpening(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	h.join("b", "presenter")
	slow := &leavingMedia{fakeMedia: h.media, leave: func() { h.d.Leave(context.Background(), roomID, "a") }}
	if err := h.d.in(roomID, func(c *controller) error { c.media = slow; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	wantText(t, "publish", err, "Participant has not joined")
	if calls := h.media.seen(); calls[len(calls)-1] != "close a" {
		t.Errorf("media was left open: %v", calls)
	}
}

type leavingMedia struct {
	*fakeMedia
	leave func()
}

func (l *leavingMedia) Publish(p MediaPublication) error {
	l.leave()
	return l.fakeMedia.Publish(p)
}

func TestF2_RoomEndsAWhileAfterItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.join("a", "presenter")
		time.Sleep(time.Hour) // synthetic time: somebody is there
		h.d.Leave(t.Context(), roomID, "a")
		time.Sleep(29 * time.Second)
		if h.d.find(roomID) == nil {
			t.Fatal("the room ended early")
		}
		h.join("b", "presenter")
		time.Sleep(time.Hour)
		if h.d.find(roomID) == nil {
			t.Fatal("the room ended with somebody in it")
		}
		h.d.Leave(t.Context(), roomID, "b")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if h.d.find(roomID) != nil {
			t.Fatal("the room did not end")
		}
		h.join("c", "presenter")
	})
}

func TestManyAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			id := fmt.Sprintf("p%d", i)
			if _, err := h.d.Join(t.Context(), Join{Room: roomID, Participant: id, Role: "presenter", Member: &fakeMember{}}); err != nil {
				t.Errorf("join: %v", err)
				return
			}
			if _, err := h.d.Publish(t.Context(), roomID, id, portalproto.PublishRequest{Tracks: avTracks}); err != nil {
				t.Errorf("publish: %v", err)
			}
			if i%2 == 0 {
				h.d.Leave(t.Context(), roomID, id)
			}
		})
	}
	wg.Wait()
	if n := h.d.Count(t.Context()); n.Rooms != 1 || n.Participants != 20 || n.Publications != 20 {
		t.Errorf("%+v", n)
	}
}
