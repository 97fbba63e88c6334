package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/portalproto"
)

// connected publishes and lets the media flow.
func (w *world) connected() *fakePeer {
	w.t.Helper()
	w.published()
	peer := w.peers.last()
	peer.events.State("connecting")
	peer.events.State("connected")
	synctest.Wait()
	w.events.take()
	w.portal.journal.take()
	return peer
}

var restartMessages = []string{"peer1 restart", "> offer s1 0:sendonly 1:sendonly", "peer1 answer 0:recvonly 1:recvonly"}

func TestMediaComeBack(t *testing.T) {
	inWorld(t, func(w *world) {
		peer := w.connected()
		for _, state := range []string{"disconnected", "failed"} {
			peer.events.State(state)
			w.messages(restartMessages...)
			peer.events.Candidate("candidate:9 udp", "0", 0)
			w.messages(`> (no ack) soac {"id":"s1","signaling":{"type":"candidate","candidate":{"candidate":"a=candidate:9 udp","sdpMid":"0","sdpMLineIndex":0}}}`)
			time.Sleep(w.c.options.Timeouts.Media - time.Millisecond)
			peer.events.State("connecting")
			peer.events.State("connected")
			w.told("state joined "+state, "state joined connecting", "state joined connected")
		}
		time.Sleep(time.Minute)
		w.messages()
	})
}

func TestMediaDoNotComeBack(t *testing.T) {
	inWorld(t, func(w *world) {
		peer := w.connected()
		peer.events.State("disconnected")
		time.Sleep(10 * time.Second)
		peer.events.State("failed")
		synctest.Wait()
		w.portal.journal.take()
		time.Sleep(5*time.Second - time.Millisecond)
		w.told("state joined disconnected", "state joined failed")
		time.Sleep(time.Millisecond)
		w.told("ended s1 "+ReasonMedia, "state joined ")
		w.inAnyOrder("peer1 close", `> unpublish {"id":"s1"}`)
	})
}

// TestRestartWaitsItsTurn: one negotiation at a time, and a restart asked for during one comes after it.
func TestRestartWaitsItsTurn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connected()
		w.silent()
		p := w.subscribe(w.t.Context())
		w.messages(subscribeSecond, "> offer s1 0:sendonly 1:sendonly 2:recvonly 3:recvonly")
		w.c.NetworkChanged()
		w.c.NetworkChanged()
		w.messages()
		answer := lines("0:recvonly", "1:recvonly", "2:sendonly", "3:sendonly")
		w.answerTo("s1", answer)
		w.messages("peer1 answer 0:recvonly 1:recvonly 2:sendonly 3:sendonly", "peer1 restart", "> offer s1 0:sendonly 1:sendonly 2:recvonly 3:recvonly")
		w.c.NetworkChanged() // the restart that runs may have looked at the network of before
		w.messages()
		w.talking()
		w.answerTo("s1", answer)
		w.messages("peer1 answer 0:recvonly 1:recvonly 2:sendonly 3:sendonly", "peer1 restart",
			"> offer s1 0:sendonly 1:sendonly 2:recvonly 3:recvonly", "peer1 answer 0:recvonly 1:recvonly 2:sendonly 3:sendonly")
		w.portal.ready("s1")
		if <-p.done; p.err != nil {
			t.Error(p.err)
		}
	})
}

// TestMediaAndSocketLost: the restart waits for the connection, uses the relays that came with it, and the media get their time from then on.
func TestMediaAndSocketLost(t *testing.T) {
	resumable(t, func(w *world) {
		peer := w.connected()
		w.cutOff()
		peer.events.State("disconnected")
		time.Sleep(50 * time.Second)
		w.told("state reconnecting connected", "state reconnecting disconnected")
		w.heard()
		w.portal.set(func() { w.portal.dialling = nil })
		time.Sleep(5 * time.Second)
		compare(t, "messages", w.heard(), restartMessages)
		w.told("state joined disconnected")
		if peer.servers[0].URLs[0] != "turn:fresh:3478" {
			t.Errorf("ICE servers %v", peer.servers)
		}
		time.Sleep(8 * time.Second)
		peer.events.State("connected")
		w.told("state joined connected")
	})
}

// TestRestartWaitsForProof: an offer into a connection that is dead would leave the media without a way until it is back.
func TestRestartWaitsForProof(t *testing.T) {
	resumable(t, func(w *world) {
		w.connected()
		w.portal.set(func() { w.portal.mute["refreshReconnectionTicket"] = true })
		w.c.NetworkChanged()
		w.messages("> refreshReconnectionTicket")
		time.Sleep(probeTime - time.Millisecond)
		w.messages()
		time.Sleep(time.Millisecond)
		if got := w.heard(); strings.Join(got, "\n") != strings.Join(restartMessages, "\n") {
			t.Errorf("messages %q", got)
		}
		w.portal.set(func() { w.portal.mute["refreshReconnectionTicket"] = false })
		w.c.NetworkChanged()
		if got := w.heard(); strings.Join(got, "\n") != strings.Join(restartMessages, "\n") {
			t.Errorf("messages %q", got)
		}
	})
}

// TestMediaUntouched: a lost connection alone changes nothing about the media.
func TestMediaUntouched(t *testing.T) {
	resumable(t, func(w *world) {
		w.connected()
		w.portal.lose(errReset)
		w.told("state reconnecting connected", "state joined connected")
		if got := w.heard(); len(got) != 0 {
			t.Errorf("messages %q", got)
		}
		w.cutOff()
		w.reachable()
		if got := w.heard(); strings.Join(got, "\n") != strings.Join(restartMessages, "\n") {
			t.Errorf("messages %q", got)
		}
	})
}

// TestRestartRefused: a server that cannot do it ends the sessions with its own words.
func TestRestartRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		peer := w.connected()
		w.refuse("soac", portalproto.ErrInvalidSignaling.Text)
		peer.events.State("disconnected")
		w.told("state joined disconnected", "ended s1 "+portalproto.ErrInvalidSignaling.Text, "state joined ")
	})
}

func TestRestartFailsHere(t *testing.T) {
	inWorld(t, func(w *world) {
		peer := w.connected()
		peer.mu.Lock()
		peer.offerErr = errors.New("no offer")
		peer.mu.Unlock()
		peer.events.State("disconnected")
		w.told("state joined disconnected")
		peer.events.State("connected") // by itself
		time.Sleep(time.Minute)
		w.told("state joined connected")
	})
}

// TestSecondAnswerToARestart: a server that answers an offer twice does not have the client take old credentials for new ones.
func TestSecondAnswerToARestart(t *testing.T) {
	resumable(t, func(w *world) {
		peer := w.connected()
		w.silent()
		p := w.publish(w.t.Context())
		synctest.Wait()
		w.portal.set(func() { w.portal.losses["soac"] = "" })
		with := func(ufrag string) string {
			return "a=ice-ufrag:" + ufrag + "\r\n" + lines("0:recvonly", "1:recvonly", "2:recvonly", "3:recvonly")
		}
		w.answerTo("s1", with("old"))
		w.portal.ready("s1")
		<-p.done
		w.portal.set(func() { w.portal.losses["soac"] = "unanswered" })
		peer.events.State("disconnected") // a restart whose offer has to be sent again
		synctest.Wait()
		w.heard()
		w.answerTo("s1", with("old"))
		if got := w.heard(); len(got) != 0 {
			t.Errorf("took the old answer: %q", got)
		}
		w.answerTo("s1", with("new"))
		compare(t, "messages", w.heard(), []string{"peer1 answer 0:recvonly 1:recvonly 2:recvonly 3:recvonly"})
	})
}
