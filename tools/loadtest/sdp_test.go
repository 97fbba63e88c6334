package loadtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"portico/shared/client"
	"portico/shared/conference"
)

func TestOffer(t *testing.T) {
	tracks := Media{Video: DefaultVideo, Audio: true, Simulcast: true}.tracks()
	lines := []*line{
		{mid: "0", kind: conference.Audio, direction: client.SendOnly, local: tracks[0]},
		{mid: "1", kind: conference.Video, direction: client.SendOnly, local: tracks[1]},
		{mid: "2", kind: conference.Video, direction: client.RecvOnly},
	}
	for _, feedback := range []bool{true, false} {
		text := writeOffer(localParameters{ufrag: "u", password: "p", fingerprint: "sha-256 AA", feedback: feedback}, lines, 3)
		var parsed sdp.SessionDescription
		if err := parsed.UnmarshalString(text); err != nil {
			t.Fatal(err)
		}
		if group, _ := parsed.Attribute("group"); group != "BUNDLE 0 1 2" || len(parsed.MediaDescriptions) != 3 {
			t.Errorf("group %q", group)
		}
		if strings.Contains(text, "transport-wide-cc") != feedback || strings.Contains(text, "transport-cc") != feedback {
			t.Errorf("feedback %v:\n%s", feedback, text)
		}
		if simulcast, _ := parsed.MediaDescriptions[1].Attribute("simulcast"); simulcast != "send q;h;f" {
			t.Errorf("simulcast %q", simulcast)
		}
		if _, ok := parsed.MediaDescriptions[2].Attribute("ssrc"); ok {
			t.Error("an SSRC where nothing is sent")
		}
	}
}

func TestAnswer(t *testing.T) {
	text := strings.ReplaceAll(`v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 1 2
m=audio 0 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=inactive
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=candidate:1 1 udp 2130706431 192.0.2.7 8080 typ host
a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdef012345
a=fingerprint:sha-256 AA:BB
a=setup:passive
a=mid:1
a=sendonly
a=extmap:5 `+sequenceURI+`
a=msid:stream track
a=ssrc-group:FID 11 12
a=ssrc:11 cname:x
a=ssrc:11 msid:stream track
a=ssrc:12 cname:x
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:2
a=recvonly
`, "\n", "\r\n")
	a, err := parseAnswer(text)
	if err != nil {
		t.Fatal(err)
	}
	if a.remote.ufrag != "abcd" || a.remote.setup != "passive" || a.remote.fingerprint != "sha-256 AA:BB" || len(a.remote.candidates) != 1 {
		t.Errorf("%+v", a.remote)
	}
	l := a.lines[1]
	if l.mid != "1" || l.direction != client.SendOnly || !slices.Equal(l.ssrcs, []uint32{11}) || !slices.Equal(l.repairs, []uint32{12}) ||
		l.stream != "stream" || l.sequence != 5 {
		t.Errorf("%+v", l)
	}
	if a.lines[0].direction != client.Inactive || a.lines[2].direction != client.RecvOnly {
		t.Errorf("%+v", a.lines)
	}
	for _, text := range []string{"", "v=0", strings.ReplaceAll(text, "ice-ufrag", "x-ufrag")} {
		if _, err := parseAnswer(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
