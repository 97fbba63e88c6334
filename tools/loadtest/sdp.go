package loadtest

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"portico/shared/client"
	"portico/shared/conference"
)

// Payload types and ids of header extensions, the same in all offers.
const (
	opusType = 111
	vp8Type  = 96
	rtxType  = 97

	levelID     = 1
	sequenceID  = 3
	midID       = 4
	ridID       = 10
	repairedID  = 11
	sequenceURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// line is one m-line of a peer.
type line struct {
	mid       string
	kind      conference.Kind
	direction client.Direction
	local     *track // what is sent; nil for what is received
}

// localParameters are what an offer says of us.
type localParameters struct {
	ufrag, password string
	fingerprint     string
	feedback        bool // transport-wide feedback is offered
}

// writeOffer writes an offer as a browser does; version rises with each of a peer (RFC 3264 section 8).
func writeOffer(l localParameters, lines []*line, version int) string {
	var b strings.Builder
	write := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	write("v=0")
	write("o=- 1 ", strconv.Itoa(version), " IN IP4 127.0.0.1")
	write("s=-")
	write("t=0 0")
	var mids strings.Builder
	for _, m := range lines {
		mids.WriteString(" " + m.mid)
	}
	write("a=group:BUNDLE", mids.String())
	write("a=msid-semantic: WMS *")
	for _, m := range lines {
		writeLine(write, l, m)
	}
	return b.String()
}

func writeLine(write func(...string), l localParameters, m *line) {
	video := m.kind == conference.Video
	if video {
		write("m=video 9 UDP/TLS/RTP/SAVPF 96 97")
	} else {
		write("m=audio 9 UDP/TLS/RTP/SAVPF 111")
	}
	write("c=IN IP4 0.0.0.0")
	write("a=rtcp:9 IN IP4 0.0.0.0")
	write("a=ice-ufrag:", l.ufrag)
	write("a=ice-pwd:", l.password)
	write("a=ice-options:trickle")
	write("a=fingerprint:", l.fingerprint)
	write("a=setup:actpass")
	write("a=mid:", m.mid)
	if l.feedback && video {
		write("a=extmap:3 ", sequenceURI)
	}
	if !video {
		write("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level")
	}
	write("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid")
	if video {
		write("a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id")
		write("a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id")
	}
	write("a=", string(m.direction))
	write("a=rtcp-mux")
	write("a=rtcp-rsize")
	if video {
		write("a=rtpmap:96 VP8/90000")
		if l.feedback {
			write("a=rtcp-fb:96 transport-cc")
		}
		write("a=rtcp-fb:96 ccm fir")
		write("a=rtcp-fb:96 nack")
		write("a=rtcp-fb:96 nack pli")
		write("a=rtpmap:97 rtx/90000")
		write("a=fmtp:97 apt=96")
	} else {
		write("a=rtpmap:111 opus/48000/2")
		write("a=fmtp:111 minptime=10;useinbandfec=1")
	}
	if m.local != nil && m.direction == client.SendOnly {
		writeTrack(write, m.local)
	}
}

// writeTrack says what is sent: one SSRC, or the rids of a simulcast.
func writeTrack(write func(...string), t *track) {
	write("a=msid:load load-", string(t.kind))
	if len(t.encodings) == 1 {
		write("a=ssrc:", strconv.FormatUint(uint64(t.encodings[0].ssrc), 10), " cname:load")
		return
	}
	var rids []string
	for _, e := range t.encodings {
		rids = append(rids, e.rid)
		write("a=rid:", e.rid, " send")
	}
	write("a=simulcast:send ", strings.Join(rids, ";"))
}

// answer is what of an edge's answer matters.
type answer struct {
	remote remoteParameters
	lines  []answerLine
}

// answerLine is one m-line of an answer.
type answerLine struct {
	mid       string
	direction client.Direction
	ssrcs     []uint32 // of media
	repairs   []uint32 // of what is sent again
	stream    string   // the media stream's id
	sequence  uint8    // id of the transport-wide number's extension; 0 without
}

func parseAnswer(text string) (*answer, error) {
	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(text); err != nil {
		return nil, err
	}
	a := &answer{}
	for _, m := range parsed.MediaDescriptions {
		l := parseAnswerLine(m.Attributes)
		a.lines = append(a.lines, l)
		if m.MediaName.Port.Value == 0 || a.remote.ufrag != "" {
			continue
		}
		for _, x := range m.Attributes {
			switch x.Key {
			case "ice-ufrag":
				a.remote.ufrag = x.Value
			case "ice-pwd":
				a.remote.password = x.Value
			case "fingerprint":
				a.remote.fingerprint = x.Value
			case "setup":
				a.remote.setup = x.Value
			case "candidate":
				a.remote.candidates = append(a.remote.candidates, x.Value)
			}
		}
	}
	if a.remote.ufrag == "" || a.remote.fingerprint == "" {
		return nil, errors.New("the answer has no transport")
	}
	return a, nil
}

func parseAnswerLine(attributes []sdp.Attribute) answerLine {
	var l answerLine
	number := func(text string) (uint32, bool) {
		n, err := strconv.ParseUint(text, 10, 32)
		return uint32(n), err == nil
	}
	for _, x := range attributes {
		fields := strings.Fields(x.Value)
		switch {
		case x.Key == "mid":
			l.mid = x.Value
		case x.Key == "sendonly" || x.Key == "recvonly" || x.Key == "inactive":
			l.direction = client.Direction(x.Key)
		case x.Key == "msid" && len(fields) > 0:
			l.stream = fields[0]
		case x.Key == "extmap" && len(fields) == 2 && fields[1] == sequenceURI:
			if n, ok := number(fields[0]); ok && n < 15 {
				l.sequence = uint8(n)
			}
		case x.Key == "ssrc-group" && len(fields) == 3 && fields[0] == "FID":
			if n, ok := number(fields[2]); ok {
				l.repairs = append(l.repairs, n)
			}
		case x.Key == "ssrc" && len(fields) > 0:
			if n, ok := number(fields[0]); ok && !slices.Contains(l.ssrcs, n) {
				l.ssrcs = append(l.ssrcs, n)
			}
		}
	}
	l.ssrcs = slices.DeleteFunc(l.ssrcs, func(n uint32) bool { return slices.Contains(l.repairs, n) })
	return l
}
