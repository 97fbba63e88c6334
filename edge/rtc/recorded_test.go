package rtc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
	"portico/edge/sfu"
	"portico/shared/conference"
)

// recorded are offers as clients wrote them; testdata has one file for each. Chromium's are of version 156.
func recorded(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.sdp")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded offers: %v", err)
	}
	offers := make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		offers[strings.TrimSuffix(filepath.Base(file), ".sdp")] = string(text)
	}
	// What OWT's JavaScript SDK makes of Safari's offer for simulcast.
	offers["safari-simulcast"] = grouped(offers["chromium-vp8"])
	return offers
}

// grouped adds a simulcast by SSRCs to an offer.
func grouped(text string) string {
	return strings.Replace(text, "a=ssrc-group:FID 1734646555 28694244\r\n",
		"a=ssrc-group:SIM 1734646555 1734646556 1734646557\r\na=ssrc-group:FID 1734646555 28694244\r\na=ssrc-group:FID 1734646556 28694245\r\n", 1)
}

// answered is an offer with its answer and what was made of it.
type answered struct {
	offer  *offer
	answer string
	tracks []conference.Track // of what it publishes
}

// answerAll answers an offer without any transport: its m-lines that send are declared as a publication, those that receive as
// a subscription to a track of video, or of Opus. mode is the scalability mode declared.
func answerAll(text string, video conference.Format, mode string) (*answered, error) {
	o, err := parseOffer(text, offerLimits{1 << 18, 64})
	if err != nil {
		return nil, err
	}
	e := &Engine{sessions: map[string]*session{}, tracks: map[string]*published{}, started: time.Now()}
	e.config.fill()
	e.workers = []*worker{{writer: sfu.NewWriter(e.now, nil)}}
	defer e.workers[0].writer.Close()
	tr := &transport{engine: e, id: "T", sessions: map[string]*session{}, lines: map[string]*mline{}}
	publication := &session{id: "P", publishes: true, accept: conference.MediaIn{
		Audio: allFormats.Audio, Video: append([]conference.VideoFormat{{Codec: "av1"}}, allFormats.Video...),
	}}
	subscription := &session{id: "S"}
	for _, s := range o.sections {
		if s.kind == "" {
			continue
		}
		l := &mline{session: publication, kind: s.kind, mid: s.mid, active: true, svc: mode != ""}
		if s.direction == recvOnly {
			l.session, l.feed = subscription, feedOf(s.kind, video)
		}
		l.session.lines = append(l.session.lines, l)
	}
	for _, s := range []*session{publication, subscription} {
		s.enter(tr)
		defer s.timer.Stop()
	}
	p := tr.plan(o)
	tr.streams.negotiated(o, p.routes)
	a := &answered{offer: o, tracks: publication.describe(), answer: writeAnswer(o, p.decisions, local{
		ufrag: "u", password: "p", fingerprint: "sha-256 AA", setup: "active", candidates: []string{"candidate:1 1 udp 1 192.0.2.1 9 typ host"},
	}, 1, 1)}
	var effects effects
	publication.end(&effects)
	subscription.end(&effects)
	effects.news = nil
	effects.run(e.now())
	return a, nil
}

// feedOf is a published track that nobody sends.
func feedOf(kind conference.Kind, video conference.Format) *published {
	p := &published{line: &mline{kind: kind}, format: video, clock: 90000, subscribers: map[*session]bool{}}
	if kind == conference.Audio {
		p.format, p.clock = conference.Format{Codec: "opus"}, 48000
	}
	p.encoding = sfu.NewEncoding(sfu.EncodingConfig{ClockRate: p.clock})
	return p
}

// TestRecordedOffers answers each with each kind of source that its receiving m-lines could be given.
func TestRecordedOffers(t *testing.T) {
	for name, text := range recorded(t) {
		for _, source := range []conference.Format{{Codec: "vp8"}, {Codec: "vp9"}, {Codec: "h264", Profile: "CB"}, {Codec: "h264"}, {Codec: "av1"}} {
			t.Run(name+"/"+source.Codec+source.Profile, func(t *testing.T) {
				a, err := answerAll(text, source, "")
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range faults(a) {
					t.Error(fault)
				}
				for i, m := range parsed(t, a.answer).MediaDescriptions {
					if direction(m) == inactive {
						t.Errorf("m-line %d is refused", i)
					}
					if offered := a.offer.sections[i]; offered.kind == conference.Video && offered.direction == recvOnly &&
						!strings.EqualFold(first(m).name, source.Codec) {
						t.Errorf("%s for a source of %s", first(m).name, source.Codec)
					}
				}
				if t.Failed() {
					t.Log(a.answer)
				}
			})
		}
	}
}

// TestRecordedTracks: what the offers publish, as it is reported (portal protocol 8.6, 8.8).
func TestRecordedTracks(t *testing.T) {
	opus := "opus/48000/2"
	for _, c := range []struct {
		name, mode string
		want       []string // format and rid of each track
	}{
		{"chromium-vp8", "", []string{"vp8"}}, {"chromium-vp9", "", []string{"vp9"}}, {"chromium-h264", "", []string{"h264 B"}},
		{"chromium-av1", "", []string{"av1"}}, {"chromium-screen", "", []string{"vp8"}}, {"chromium-audio", "", []string{opus}},
		{"chromium-receive", "", nil}, {"chromium-svc", "L3T3_KEY", []string{"vp9"}}, {"pion", "", []string{opus, "vp8"}},
		{"chromium-simulcast", "", []string{"vp8:q", "vp8:h", "vp8:f"}}, {"safari-simulcast", "", []string{"vp8:0", "vp8:1", "vp8:2"}},
		{"safari-simulcast", "L1T3", []string{"vp8:0", "vp8:1", "vp8:2"}},
	} {
		a, err := answerAll(recorded(t)[c.name], conference.Format{Codec: "vp8"}, c.mode)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, track := range a.tracks {
			text := track.Format.Codec
			if f := track.Format; f.SampleRate != 0 {
				text += fmt.Sprintf("/%d/%d", f.SampleRate, f.ChannelNum)
			}
			if track.Format.Profile != "" {
				text += " " + track.Format.Profile
			}
			id := "T-" + track.Mid
			if track.Rid != "" {
				text += ":" + track.Rid
				id += ":" + track.Rid
			}
			if track.ID != id {
				t.Errorf("%s: track %q, want %q", c.name, track.ID, id)
			}
			got = append(got, text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %q, want %q", c.name, c.mode, got, c.want)
		}
	}
}

// TestGroupedVP9IsSVC: with a scalability mode the SSRCs of a group are no layers.
func TestGroupedVP9IsSVC(t *testing.T) {
	text := strings.Replace(recorded(t)["safari-simulcast"], "SAVPF 96 97 98", "SAVPF 98 96 97", 1)
	for mode, want := range map[string]int{"L3T3": 1, "": 3} {
		a, err := answerAll(text, conference.Format{}, mode)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.tracks) != want || a.tracks[0].Format.Codec != "vp9" {
			t.Errorf("mode %q: %+v", mode, a.tracks)
		}
	}
}

// first is the chosen format of an answered m-line.
func first(m *sdp.MediaDescription) format {
	if list := parseFormats(m); len(list) > 0 {
		return list[0]
	}
	return format{}
}

// faults lists where an answer breaks the rules of portal protocol 8.5.
func faults(a *answered) (list []string) {
	fault := func(text string, args ...any) { list = append(list, fmt.Sprintf(text, args...)) }
	var answer sdp.SessionDescription
	if err := answer.UnmarshalString(a.answer); err != nil {
		return []string{"unreadable: " + err.Error()}
	}
	if len(answer.MediaDescriptions) != len(a.offer.sections) {
		return []string{fmt.Sprintf("%d m-lines for %d", len(answer.MediaDescriptions), len(a.offer.sections))}
	}
	group, transport, stream := "BUNDLE", "", ""
	for i, m := range answer.MediaDescriptions {
		s := &a.offer.sections[i]
		if attribute(m, "mid") != s.mid || m.MediaName.Media != s.media || strings.Join(m.MediaName.Protos, "/") != s.proto {
			fault("m-line %d: %v %q for mid %q", i, m.MediaName, attribute(m, "mid"), s.mid)
		}
		if open := m.MediaName.Port.Value != 0; open != s.bundled {
			fault("m-line %d: open is %v", i, open)
		} else if !open {
			continue
		}
		group += " " + s.mid
		if t := transportOf(m); transport != "" && t != transport {
			fault("m-line %d: other transport %q, %q", i, t, transport)
		} else {
			transport = t
		}
		for _, text := range sectionFaults(m, s) {
			fault("m-line %d: %s", i, text)
		}
		if direction(m) == sendOnly {
			id, _, _ := strings.Cut(attribute(m, "msid"), " ")
			if id == "" || stream != "" && id != stream {
				fault("m-line %d: stream %q beside %q", i, id, stream)
			}
			stream = id
		}
	}
	if got, ok := answer.Attribute("group"); ok && got != group || !ok && group != "BUNDLE" {
		fault("group %q, want %q", got, group)
	}
	return list
}

// all gives the values of an attribute.
func all(m *sdp.MediaDescription, key string) (list []string) {
	for _, a := range m.Attributes {
		if a.Key == key {
			list = append(list, a.Value)
		}
	}
	return list
}

// transportOf is what all m-lines of a transport have in common; "" when something is missing.
func transportOf(m *sdp.MediaDescription) string {
	parts := []string{attribute(m, "ice-ufrag"), attribute(m, "ice-pwd"), attribute(m, "fingerprint"), attribute(m, "setup"),
		strings.Join(all(m, "candidate"), ",")}
	if _, mux := m.Attribute("rtcp-mux"); !mux || slices.Contains(parts, "") {
		return ""
	}
	return strings.Join(parts, " ")
}

// sectionFaults are those of one open m-line by itself.
func sectionFaults(m *sdp.MediaDescription, s *section) (list []string) {
	fault := func(text string, args ...any) { list = append(list, fmt.Sprintf(text, args...)) }
	if transportOf(m) == "" {
		fault("the transport is not complete")
	}
	want := map[string][]string{sendOnly: {recvOnly}, recvOnly: {sendOnly}, sendRecv: {sendOnly, recvOnly}}[s.direction]
	d := direction(m)
	if d != inactive && !slices.Contains(want, d) {
		fault("%s for %s", d, s.direction)
	}
	if len(m.MediaName.Formats) == 0 {
		return append(list, "no formats")
	}
	formats := parseFormats(m)
	if d == inactive {
		if len(s.payloads) > 0 && !slices.Contains(s.payloads, m.MediaName.Formats[0]) {
			fault("format %s was not offered", m.MediaName.Formats[0])
		}
		formats = nil
	}
	for i, f := range formats {
		at := slices.IndexFunc(s.formats, func(o format) bool { return o.payloadType == f.payloadType })
		if at < 0 || s.formats[at].rtpmap != f.rtpmap || s.formats[at].fmtp != f.fmtp {
			fault("format %+v was not offered", f)
			continue
		}
		for _, fb := range f.feedback {
			if !slices.Contains(s.formats[at].feedback, fb) || s.kind == conference.Audio {
				fault("feedback %q", fb)
			}
		}
		switch {
		case i == 0 && !f.forwardable(s.kind):
			fault("%+v cannot be forwarded", f)
		case i > 0 && f.name == "red" && formats[0].name == "opus" && f.fmtp == fmt.Sprintf("%[1]d/%[1]d", formats[0].payloadType):
		case i > 0 && (f.name != "rtx" || f.parameter("apt") != m.MediaName.Formats[0]):
			fault("%+v beside %s", f, m.MediaName.Formats[0])
		}
	}
	for _, e := range all(m, "extmap") {
		id, uri, _ := strings.Cut(e, " ")
		if !slices.Contains(wantedExtensions[s.kind], uri) || fmt.Sprint(s.extensionID(uri)) != id {
			fault("extension %q", e)
		}
	}
	return append(list, streamFaults(m, s, slices.ContainsFunc(formats, func(f format) bool { return f.name == "rtx" }))...)
}

// streamFaults are those of an m-line's SSRCs and rids.
func streamFaults(m *sdp.MediaDescription, s *section, rtx bool) (list []string) {
	ssrcs := make(map[string]bool)
	for _, v := range all(m, "ssrc") {
		n, _, _ := strings.Cut(v, " ")
		ssrcs[n] = true
	}
	sends := direction(m) == sendOnly
	switch {
	case len(ssrcs) > 0 != sends || sends && len(ssrcs) > 1 != rtx:
		list = append(list, fmt.Sprintf("%d SSRCs", len(ssrcs)))
	case sends && rtx:
		fields := strings.Fields(attribute(m, "ssrc-group"))
		if len(fields) != 3 || fields[0] != "FID" || !ssrcs[fields[1]] || !ssrcs[fields[2]] {
			list = append(list, fmt.Sprintf("group %q", fields))
		}
	}
	if direction(m) == recvOnly && len(s.rids) > 1 {
		if got := attribute(m, "simulcast"); got != "recv "+strings.Join(s.rids, ";") {
			list = append(list, fmt.Sprintf("simulcast %q", got))
		}
		for _, rid := range s.rids {
			if !slices.Contains(all(m, "rid"), rid+" recv") {
				list = append(list, "no rid "+rid)
			}
		}
	} else if len(all(m, "rid"))+len(all(m, "simulcast")) > 0 {
		list = append(list, "rids without simulcast")
	}
	return list
}
