package rtc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"portico/shared/conference"
)

var restartOptions = &webrtc.OfferOptions{ICERestart: true}

// What Chromium writes, shortened to what matters, with a few formats and extensions that are not wanted.
const (
	chromiumHead = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\na=extmap-allow-mixed\r\n" +
		"a=msid-semantic: WMS 6e5a\r\n"
	chromiumTransport = "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n" +
		"a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F\r\na=setup:actpass\r\n"
	chromiumAudio = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n" +
		"a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n" +
		"a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n" +
		"a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=rtpmap:110 telephone-event/48000\r\n"
	chromiumVideo = "a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n" +
		"a=extmap:13 urn:3gpp:video-orientation\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n" +
		"a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n" +
		"a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n" +
		"a=rtcp-mux\r\na=rtcp-rsize\r\n" +
		"a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n" +
		"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
		"a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n" +
		"a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
		"a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\na=rtpmap:100 VP9/90000\r\na=fmtp:100 profile-id=2\r\na=rtpmap:45 AV1/90000\r\n"
)

// chromium is an offer with one m-line of each kind, sendonly, mids 0, 1, …
func chromium(kinds ...string) string {
	var b strings.Builder
	mids := make([]string, len(kinds))
	for i := range kinds {
		mids[i] = fmt.Sprint(i)
	}
	fmt.Fprintf(&b, chromiumHead, strings.Join(mids, " "))
	for i, kind := range kinds {
		name := map[string]string{"audio": "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 110\r\n", "video": "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 106 98 100 45\r\n",
			"application": "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"}[kind]
		b.WriteString(name + chromiumTransport + fmt.Sprintf("a=mid:%d\r\n", i))
		switch kind {
		case "audio":
			b.WriteString(chromiumAudio + "a=sendonly\r\na=msid:6e5a 0b1c\r\na=ssrc:1111 cname:kPJ\r\na=ssrc:1111 msid:6e5a 0b1c\r\n")
		case "video":
			b.WriteString(chromiumVideo + "a=sendonly\r\na=msid:6e5a 0b1d\r\na=ssrc-group:FID 2222 3333\r\na=ssrc:2222 cname:kPJ\r\na=ssrc:3333 cname:kPJ\r\n")
		default:
			b.WriteString("a=sctp-port:5000\r\na=max-message-size:262144\r\n")
		}
	}
	return b.String()
}

func mustParse(t *testing.T, text string) *offer {
	t.Helper()
	o, err := parseOffer(text, offerLimits{1 << 20, 100})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestParseChromium(t *testing.T) {
	o := mustParse(t, chromium("audio", "video", "application"))
	if o.ufrag != "EsAw" || o.password != "P2uYro0UCOQ4zxjKXaWCBui1" || o.setup != "actpass" || !strings.HasPrefix(o.fingerprint, "sha-256 D2:") {
		t.Errorf("transport %+v", o)
	}
	audio, video, data := o.sections[0], o.sections[1], o.sections[2]
	if audio.kind != conference.Audio || audio.direction != sendOnly || !audio.bundled || !slices.Equal(audio.ssrcs, []uint32{1111}) {
		t.Errorf("audio %+v", audio)
	}
	if !slices.Equal(video.ssrcs, []uint32{2222}) || video.extensionID(extTransportSeq) != 3 || len(video.formats) != 7 {
		t.Errorf("video %+v", video)
	}
	if data.kind != "" || data.bundled {
		t.Errorf("data %+v", data)
	}
	if mustParse(t, strings.ReplaceAll(chromium("audio"), "\r\n", "\n")).sections[0].mid != "0" {
		t.Error("plain line ends are not read")
	}
}

func TestCodecChoice(t *testing.T) {
	o := mustParse(t, chromium("audio", "video"))
	video := &o.sections[1]
	room := func(codecs ...string) (in conference.MediaIn) {
		for _, c := range codecs {
			in.Video = append(in.Video, conference.VideoFormat{Codec: c})
			in.Audio = append(in.Audio, conference.AudioFormat{Codec: c})
		}
		return in
	}
	for _, c := range []struct {
		in   conference.MediaIn
		want uint8
	}{{room("h264", "vp8"), 96}, {room("h264"), 106}, {room("vp9"), 98}, {room("av1", "h265"), 45}, {room("h265"), 0}, {conference.MediaIn{}, 0}} {
		got := uint8(0)
		if f := choosePublished(video, c.in); f != nil {
			got = f.payloadType
		}
		if got != c.want {
			t.Errorf("published with %v: %d, want %d", c.in.Video, got, c.want)
		}
	}
	audio := &o.sections[0]
	for _, c := range []struct {
		in   conference.AudioFormat
		want bool
	}{{conference.AudioFormat{Codec: "opus", SampleRate: 48000, ChannelNum: 2}, true}, {conference.AudioFormat{Codec: "opus", SampleRate: 16000, ChannelNum: 2}, false},
		{conference.AudioFormat{Codec: "opus", ChannelNum: 1}, false}, {conference.AudioFormat{Codec: "OPUS"}, true},
		{conference.AudioFormat{Codec: "g722", SampleRate: 16000, ChannelNum: 1}, true}, {conference.AudioFormat{Codec: "g722", SampleRate: 8000}, true}} {
		if got := choosePublished(audio, conference.MediaIn{Audio: []conference.AudioFormat{c.in}}) != nil; got != c.want {
			t.Errorf("published with %+v: %v", c.in, got)
		}
	}
	for _, c := range []struct {
		source conference.Format
		want   uint8
	}{{conference.Format{Codec: "vp8"}, 96}, {conference.Format{Codec: "h264", Profile: "CB"}, 106}, {conference.Format{Codec: "h264", Profile: "H"}, 0},
		{conference.Format{Codec: "h264"}, 106}, {conference.Format{Codec: "av1"}, 45}, {conference.Format{Codec: "h265"}, 0}} {
		got := uint8(0)
		if f := chooseSubscribed(video, c.source); f != nil {
			got = f.payloadType
		}
		if got != c.want {
			t.Errorf("subscribed to %+v: %d, want %d", c.source, got, c.want)
		}
	}
	for id, want := range map[string]string{"42e01f": "CB", "42001f": "B", "4D001f": "M", "4d001f": "", "640c1f": "H", "zz": "", "42zz1f": "B"} {
		if got := h264Profile(id); got != want {
			t.Errorf("profile of %s is %q", id, got)
		}
	}
}

// answerTo answers an offer without any transport.
func answerTo(text string) (string, error) {
	a, err := answerAll(text, conference.Format{Codec: "vp8"}, "")
	if err != nil {
		return "", err
	}
	return a.answer, nil
}

func TestAnswerShape(t *testing.T) {
	text, err := answerTo(chromium("audio", "video", "application"))
	if err != nil {
		t.Fatal(err)
	}
	answer := parsed(t, text)
	if group, _ := answer.Attribute("group"); group != "BUNDLE 0 1" {
		t.Errorf("group %q", group)
	}
	m := answer.MediaDescriptions
	if m[2].MediaName.Port.Value != 0 || m[0].MediaName.Formats[0] != "111" || !slices.Equal(m[1].MediaName.Formats, []string{"96", "97"}) {
		t.Errorf("m-lines %v", text)
	}
	values := func(i int, key string) (list []string) {
		for _, a := range m[i].Attributes {
			if a.Key == key {
				list = append(list, a.Value)
			}
		}
		return list
	}
	if got := values(1, "rtcp-fb"); !slices.Equal(got, []string{"96 nack", "96 nack pli", "96 transport-cc"}) {
		t.Errorf("feedback of video %q", got)
	}
	if got := values(0, "rtcp-fb"); got != nil {
		t.Errorf("feedback of audio %q", got)
	}
	if got := values(0, "extmap"); !slices.Equal(got, []string{"1 " + extAudioLevel, "2 " + extAbsSendTime, "4 " + extMid}) {
		t.Errorf("extensions of audio %q", got)
	}
	if got := values(1, "extmap"); !slices.Equal(got, []string{"14 " + extTimeOffset, "2 " + extAbsSendTime, "3 " + extTransportSeq, "4 " + extMid,
		"10 " + extRid, "11 " + extRepairedRid}) {
		t.Errorf("extensions of video %q", got)
	}
	if got := values(0, "fmtp"); !slices.Equal(got, []string{"111 minptime=10;useinbandfec=1", "63 111/111"}) {
		t.Errorf("parameters of audio %q", got)
	}
}

// TestMixedExtensions: an answer lets both forms of header extensions come where the offer does, for all m-lines or for one.
func TestMixedExtensions(t *testing.T) {
	offer := chromium("audio", "video")
	for name, c := range map[string]struct {
		offer             string
		session, ofItself bool
	}{
		"session": {offer, true, false},
		"m-line": {strings.Replace(strings.Replace(offer, "a=extmap-allow-mixed\r\n", "", 1), "a=mid:1\r\n", "a=mid:1\r\na=extmap-allow-mixed\r\n", 1),
			false, true},
		"not at all": {strings.Replace(offer, "a=extmap-allow-mixed\r\n", "", 1), false, false},
	} {
		text, err := answerTo(c.offer)
		if err != nil {
			t.Fatal(err)
		}
		answer := parsed(t, text)
		_, session := answer.Attribute("extmap-allow-mixed")
		_, audio := answer.MediaDescriptions[0].Attribute("extmap-allow-mixed")
		_, video := answer.MediaDescriptions[1].Attribute("extmap-allow-mixed")
		if session != c.session || audio || video != c.ofItself {
			t.Errorf("%s: session %v, audio %v, video %v", name, session, audio, video)
		}
	}
}

func TestBundle(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(string) string
		wantPorts []int
		wantGroup string
	}{
		"no group": {func(s string) string { return strings.Replace(s, "a=group:BUNDLE 0 1\r\n", "", 1) }, []int{9, 0}, "BUNDLE 0"},
		"partial":  {func(s string) string { return strings.Replace(s, "BUNDLE 0 1", "BUNDLE 1", 1) }, []int{0, 9}, "BUNDLE 1"},
		"refused":  {func(s string) string { return strings.Replace(s, "m=audio 9", "m=audio 0", 1) }, []int{0, 9}, "BUNDLE 1"},
		"bundle only": {func(s string) string {
			return strings.Replace(strings.Replace(s, "m=video 9", "m=video 0", 1), "a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n", 1)
		}, []int{9, 9}, "BUNDLE 0 1"},
		"all refused": {func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, "audio 9", "audio 0"), "video 9", "video 0")
		}, []int{0, 0}, ""},
	} {
		text, err := answerTo(c.change(chromium("audio", "video")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer := parsed(t, text)
		group, _ := answer.Attribute("group")
		var ports []int
		for _, m := range answer.MediaDescriptions {
			ports = append(ports, m.MediaName.Port.Value)
		}
		if group != c.wantGroup || !slices.Equal(ports, c.wantPorts) {
			t.Errorf("%s: group %q, ports %v", name, group, ports)
		}
	}
}

func TestT_130_Simulcast(t *testing.T) {
	text := strings.Replace(chromium("video"), "a=ssrc-group", "a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;~f\r\na=ssrc-group", 1)
	answer, err := answerTo(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a=rid:q recv\r\n", "a=rid:h recv\r\n", "a=rid:f recv\r\n", "a=simulcast:recv q;h;f\r\n"} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %q in\n%s", want, answer)
		}
	}
}

func TestBadOffers(t *testing.T) {
	good := chromium("audio", "video")
	for name, text := range map[string]string{
		"empty":            "",
		"garbage":          "hello",
		"no mid":           strings.Replace(good, "a=mid:1\r\n", "", 1),
		"mid twice":        strings.Replace(good, "a=mid:1\r\n", "a=mid:0\r\n", 1),
		"no credentials":   strings.ReplaceAll(good, "a=ice-ufrag:EsAw\r\n", ""),
		"odd credentials":  strings.ReplaceAll(good, "EsAw", "Es Aw"),
		"short password":   strings.ReplaceAll(good, "P2uYro0UCOQ4zxjKXaWCBui1", "short"),
		"no fingerprint":   strings.ReplaceAll(good, "a=fingerprint", "a=nothing"),
		"weak fingerprint": strings.ReplaceAll(good, "sha-256", "md5"),
		"odd setup":        strings.ReplaceAll(good, "a=setup:actpass", "a=setup:holdconn"),
		"stray return":     strings.Replace(good, "UDP/TLS", "UDP/\rTLS", 1),
		"many m-lines":     chromium(slices.Repeat([]string{"audio"}, 65)...),
	} {
		if _, err := answerTo(text); !errors.Is(err, ErrBadOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzOffer: any text is refused or answered, and an answer is an SDP that keeps the rules of portal protocol 8.5.
func FuzzOffer(f *testing.F) {
	for _, text := range recorded(f) {
		f.Add(text)
	}
	f.Add(chromium("audio"))
	f.Add(chromium("audio", "video", "application"))
	f.Add(strings.Replace(chromium("video", "audio"), "m=video 9", "m=video 0", 1))
	f.Add(strings.Replace(chromium("video"), "a=ssrc-group", "a=rid:q send\r\na=simulcast:send q;~h,x recv z\r\na=ssrc-group", 1))
	f.Add(strings.Replace(chromium("video"), "a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/\r\na=fmtp:96\r\na=rtpmap:96", 1))
	f.Add(strings.ReplaceAll(chromium("audio"), "\r\n", "\n"))
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 X\r\na=mid:0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := answerAll(text, conference.Format{Codec: "vp8"}, "")
		if err != nil {
			if !errors.Is(err, ErrBadOffer) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		for _, fault := range faults(a) {
			t.Errorf("%s in\n%s", fault, a.answer)
		}
	})
}

func FuzzCandidate(f *testing.F) {
	f.Add("a=candidate:842163049 1 udp 1677729535 203.0.113.7 51234 typ srflx raddr 0.0.0.0 rport 0 generation 0 ufrag EsAw")
	f.Add("candidate:1 1 udp 1 x.local 9 typ host")
	f.Add("a=")
	f.Fuzz(func(t *testing.T, text string) {
		clean, ok := cleanCandidate(text, false)
		if !ok {
			return
		}
		if !strings.HasPrefix(clean, "candidate:") || strings.ContainsAny(clean, "\r\n") {
			t.Errorf("%q", clean)
		}
		if again, ok := cleanCandidate(clean, false); !ok || again != clean {
			t.Errorf("%q becomes %q, %v", clean, again, ok)
		}
		candidateKey(clean)
	})
}
