package rtc

import (
	"slices"
	"strconv"
	"strings"

	"portico/shared/conference"
)

// local is our side of a transport as an answer tells it.
type local struct {
	ufrag, password string
	fingerprint     string // algorithm and value
	setup           string
	candidates      []string // beginning with "candidate:"
}

// decision is the answer to one section of an offer. The zero value refuses it and leaves it open.
type decision struct {
	closed    bool    // port 0: the client refused it, or it is nothing we could ever use
	direction string  // recvonly or sendonly; empty: inactive
	format    *format // the chosen one; nil when inactive
	rtx       *format // the one on which its packets are sent again; nil without
	redundant *format // the one of packets with audio from before them too; nil without
	rids      []string
	ssrc      uint32 // of a sendonly section, with stream and track
	rtxSSRC   uint32 // and, with rtx, of what is sent again
	stream    string // msid
	track     string
}

// wantedExtensions are the header extensions that are negotiated, by kind (portal protocol 8.5).
var wantedExtensions = map[conference.Kind][]string{
	conference.Audio: {extMid, extRid, extRepairedRid, extAudioLevel, extTimeOffset, extAbsSendTime},
	conference.Video: {extMid, extRid, extRepairedRid, extTimeOffset, extAbsSendTime, extTransportSeq},
}

// writeAnswer writes the answer to o. version rises with each answer of a transport (RFC 3264 section 8).
func writeAnswer(o *offer, decisions []decision, l local, id uint64, version int) string {
	var b strings.Builder
	b.Grow(512 + 1024*len(o.sections))
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	line("v=0")
	line("o=- ", strconv.FormatUint(id>>1, 10), " ", strconv.Itoa(version), " IN IP4 127.0.0.1")
	line("s=-")
	line("t=0 0")
	var bundle strings.Builder
	for i, s := range o.sections {
		if !decisions[i].closed {
			bundle.WriteString(" " + s.mid)
		}
	}
	if bundle.Len() > 0 {
		line("a=group:BUNDLE", bundle.String())
	}
	if o.mixed { // without it Chromium sends no dependency descriptor that is longer than the short form allows
		line("a=extmap-allow-mixed")
	}
	line("a=msid-semantic: WMS *")
	for i := range o.sections {
		writeSection(line, &o.sections[i], decisions[i], l)
	}
	return b.String()
}

func writeSection(line func(...string), s *section, d decision, l local) {
	if d.closed {
		line("m=", s.media, " 0 ", s.proto, " ", strings.Join(firstPayload(s.payloads), " "))
		line("c=IN IP4 0.0.0.0")
		line("a=mid:", s.mid)
		line("a=inactive")
		return
	}
	// An inactive section keeps one of the offered formats, whatever it is: clients refuse an m-line without.
	f := d.format
	if f == nil {
		f = keptFormat(s)
	}
	payload := strings.Join(firstPayload(s.payloads), " ")
	if f != nil {
		payload = strconv.Itoa(int(f.payloadType))
	}
	switch {
	case d.rtx != nil:
		payload += " " + strconv.Itoa(int(d.rtx.payloadType))
	case d.redundant != nil && s.before(d.redundant, f): // the client's preference: it sends what comes first
		payload = strconv.Itoa(int(d.redundant.payloadType)) + " " + payload
	case d.redundant != nil:
		payload += " " + strconv.Itoa(int(d.redundant.payloadType))
	}
	line("m=", s.media, " 9 ", s.proto, " ", payload)
	line("c=IN IP4 0.0.0.0")
	line("a=rtcp:9 IN IP4 0.0.0.0")
	for _, c := range l.candidates {
		line("a=", c)
	}
	line("a=end-of-candidates")
	line("a=ice-ufrag:", l.ufrag)
	line("a=ice-pwd:", l.password)
	line("a=fingerprint:", l.fingerprint)
	line("a=setup:", l.setup)
	line("a=mid:", s.mid)
	if d.direction == "" {
		line("a=", inactive)
	} else {
		line("a=", d.direction)
	}
	line("a=rtcp-mux")
	if s.rsize {
		line("a=rtcp-rsize")
	}
	if f != nil {
		writeFormat(line, s, f, d.direction)
	}
	for _, other := range []*format{d.rtx, d.redundant} {
		if other != nil {
			writeFormat(line, s, other, "")
		}
	}
	if s.mixed {
		line("a=extmap-allow-mixed")
	}
	// Also in an inactive section: a client that once negotiated simulcast on it makes no further offer without the rid's.
	for _, e := range s.ext {
		if slices.Contains(wantedExtensions[s.kind], e.uri) || e.uri == extDependency && d.format != nil && d.format.name == "av1" {
			line("a=extmap:", strconv.Itoa(int(e.id)), " ", e.uri)
		}
	}
	writeStreams(line, d)
}

func writeFormat(line func(...string), s *section, f *format, direction string) {
	payload := strconv.Itoa(int(f.payloadType))
	if f.rtpmap != "" {
		line("a=rtpmap:", payload, " ", f.rtpmap)
	}
	if f.fmtp != "" {
		line("a=fmtp:", payload, " ", f.fmtp)
	}
	if direction == "" {
		return
	}
	for _, fb := range s.feedback(f, direction) {
		line("a=rtcp-fb:", payload, " ", fb)
	}
}

// feedback are the kinds of feedback that a section negotiates: loss and key frames of video both ways, and, from us, when
// each packet came.
func (s *section) feedback(f *format, direction string) []string {
	if s.kind != conference.Video {
		return nil
	}
	var list []string
	for _, fb := range []string{"nack", "nack pli"} {
		if slices.Contains(f.feedback, fb) {
			list = append(list, fb)
		}
	}
	if s.extensionID(extTransportSeq) != 0 && slices.Contains(f.feedback, "transport-cc") {
		list = append(list, "transport-cc")
	}
	return list
}

func writeStreams(line func(...string), d decision) {
	for _, rid := range d.rids {
		line("a=rid:", rid, " recv")
	}
	if len(d.rids) > 0 {
		line("a=simulcast:recv ", strings.Join(d.rids, ";"))
	}
	if d.ssrc != 0 {
		ssrc := strconv.FormatUint(uint64(d.ssrc), 10)
		line("a=msid:", d.stream, " ", d.track)
		ssrcs := []string{ssrc}
		if d.rtx != nil {
			ssrcs = append(ssrcs, strconv.FormatUint(uint64(d.rtxSSRC), 10))
			line("a=ssrc-group:FID ", strings.Join(ssrcs, " "))
		}
		for _, n := range ssrcs {
			line("a=ssrc:", n, " cname:", d.stream)
			line("a=ssrc:", n, " msid:", d.stream, " ", d.track)
		}
	}
}

// before tells whether a client prefers one of its formats to another.
func (s *section) before(a, b *format) bool {
	i := slices.IndexFunc(s.formats, func(f format) bool { return f.payloadType == a.payloadType })
	return i < slices.IndexFunc(s.formats, func(f format) bool { return f.payloadType == b.payloadType })
}

// keptFormat is the format an inactive section is answered with: one we could forward if there is one, else the first.
func keptFormat(s *section) *format {
	for i := range s.formats {
		if s.formats[i].forwardable(s.kind) {
			return &s.formats[i]
		}
	}
	for i := range s.formats {
		if s.formats[i].name != "" {
			return &s.formats[i]
		}
	}
	return nil
}

func firstPayload(payloads []string) []string {
	if len(payloads) == 0 {
		return []string{"0"}
	}
	return payloads[:1]
}
