package client

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"portico/shared/conference"
)

// peers makes fakePeers.
type peers struct {
	journal *journal
	mu      sync.Mutex // guards the fields below
	made    []*fakePeer
	config  PeerConfig
	err     error // of the next NewPeer
	setup   func(*fakePeer)
}

func (f *peers) NewPeer(config PeerConfig, events PeerEvents) (Peer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	p := &fakePeer{journal: f.journal, events: events, name: "peer" + strconv.Itoa(len(f.made)+1)}
	if f.setup != nil {
		f.setup(p)
	}
	f.made, f.config = append(f.made, p), config
	f.journal.add(p.name, "new")
	return p, nil
}

func (f *peers) last() *fakePeer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[len(f.made)-1]
}

// fakePeer is a PeerConnection of which only the m-lines exist.
type fakePeer struct {
	journal *journal
	events  PeerEvents
	name    string
	servers []ICEServer // of SetICEServers; guarded by mu
	ice     int         // restarts; guarded by mu

	addErr, offerErr, answerErr error
	offerHangs                  bool
	noTracks                    bool // the answer brings no remote tracks

	mu     sync.Mutex // guards lines, mids and stable
	lines  []*fakeLine
	offer  bool // an offer is the local description and waits for its answer
	closed bool
}

type fakeLine struct {
	peer *fakePeer
	kind conference.Kind
	mid  string
	dir  Direction
}

func (p *fakePeer) AddTransceiver(kind conference.Kind, dir Direction, local any, _ SendOptions) (Transceiver, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addErr != nil {
		return nil, p.addErr
	}
	l := &fakeLine{peer: p, kind: kind, dir: dir}
	if dir == SendOnly && local == nil {
		p.journal.add(p.name, "silent", string(kind))
	}
	p.lines = append(p.lines, l)
	return l, nil
}

func (p *fakePeer) Offer(ctx context.Context, iceRestart bool) (string, error) {
	if p.offerHangs {
		<-ctx.Done()
		return "", ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offerErr != nil {
		return "", p.offerErr
	}
	if p.offer || p.closed {
		return "", errors.New("not stable")
	}
	p.offer = true
	if iceRestart {
		p.ice++
		p.journal.add(p.name, "restart")
	}
	var sdp strings.Builder
	sdp.WriteString("v=0\r\na=ice-ufrag:u" + strconv.Itoa(p.ice) + "\r\n")
	for i, l := range p.lines {
		l.mid = strconv.Itoa(i)
		sdp.WriteString("m=" + string(l.kind) + " 9 X 96\r\na=mid:" + l.mid + "\r\na=" + string(l.dir) + "\r\n")
	}
	return sdp.String(), nil
}

func (p *fakePeer) Answer(_ context.Context, sdp string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.journal.add(p.name, "answer", summary(sdp))
	if p.answerErr != nil {
		return p.answerErr
	}
	if !p.offer || p.closed {
		return errors.New("no offer")
	}
	p.offer = false
	for mid := range accepted(sdp, "sendonly") {
		i, _ := strconv.Atoi(mid)
		if l := p.lines[i]; l.dir == RecvOnly && !p.noTracks {
			p.events.Track(l.mid, l.kind, []string{"ms"}, "track "+mid)
		}
	}
	return nil
}

func (p *fakePeer) SetICEServers(servers []ICEServer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = servers
	return nil
}

func (p *fakePeer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.journal.add(p.name, "close")
	}
	p.closed = true
	return nil
}

func (l *fakeLine) Mid() string { return l.mid }

func (l *fakeLine) ReplaceTrack(local any) error {
	text := "nil"
	if local != nil {
		text = local.(string)
	}
	l.peer.mu.Lock()
	defer l.peer.mu.Unlock()
	l.peer.journal.add(l.peer.name, "replace", l.mid, text)
	return nil
}

func (l *fakeLine) SetLayers(rids []string) error {
	l.peer.mu.Lock()
	defer l.peer.mu.Unlock()
	l.peer.journal.add(l.peer.name, "layers", l.mid, strings.Join(rids, ","))
	return nil
}

func (l *fakeLine) Stop() error {
	l.peer.mu.Lock()
	defer l.peer.mu.Unlock()
	l.peer.journal.add(l.peer.name, "stop", l.mid)
	if l.peer.offer {
		l.peer.journal.add("stopped in the middle of a negotiation")
	}
	l.dir = Inactive
	return nil
}

// summary is the m-lines of an SDP: "0:sendonly 1:inactive".
func summary(sdp string) string {
	var lines []string
	mid := ""
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if m, ok := strings.CutPrefix(line, "a=mid:"); ok {
			mid = m
		} else if line == "a=sendonly" || line == "a=recvonly" || line == "a=inactive" {
			lines = append(lines, mid+":"+line[2:])
		}
	}
	return strings.Join(lines, " ")
}

// mirror is the answer that accepts every m-line, but the mids in refuse.
func mirror(offer string, refuse ...string) string {
	answer := strings.NewReplacer("a=sendonly", "a=recvonly", "a=recvonly", "a=sendonly").Replace(offer)
	for _, mid := range refuse {
		for _, dir := range []string{"sendonly", "recvonly"} {
			answer = strings.Replace(answer, "a=mid:"+mid+"\r\na="+dir, "a=mid:"+mid+"\r\na=inactive", 1)
		}
	}
	return answer
}
