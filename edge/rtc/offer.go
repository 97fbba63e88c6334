package rtc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"portico/shared/conference"
)

// URIs of the header extensions that are negotiated (portal protocol 8.5).
const (
	extMid          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	extRid          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	extRepairedRid  = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	extAudioLevel   = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	extTimeOffset   = "urn:ietf:params:rtp-hdrext:toffset"
	extAbsSendTime  = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	extTransportSeq = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	extDependency   = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// Directions of an m-line.
const (
	sendRecv = "sendrecv"
	sendOnly = "sendonly"
	recvOnly = "recvonly"
	inactive = "inactive"
)

// offer is what of a client's offer matters.
type offer struct {
	ufrag, password string
	fingerprint     string // algorithm and value
	setup           string // actpass, active or passive
	candidates      []string
	tag             string // mid of the section whose transport the others share; empty when there is none
	mixed           bool   // both forms of header extensions may come on one stream (RFC 8285 section 6)
	sections        []section
}

// section is one m-line of an offer.
type section struct {
	mid       string
	media     string          // as offered
	kind      conference.Kind // empty for what is no audio or video
	proto     string
	payloads  []string // the m-line's formats as offered
	formats   []format // those of audio and video, in the order offered
	direction string
	dead      bool // port 0: the client refuses it itself
	bundled   bool // shares the transport of the first
	rsize     bool
	mixed     bool // as in the offer, said of this m-line alone
	ext       []extension
	ssrcs     []uint32 // of media, not of repair
	repairs   []repair
	layers    []uint32 // SSRCs of a simulcast without rids, in its order
	rids      []string // of a simulcast that the client wants to send, in its order
}

// repair is an SSRC on which packets of another are sent again.
type repair struct{ ssrc, of uint32 }

// extension is a header extension as offered.
type extension struct {
	id  uint8
	uri string
}

// extensionID is the id of an extension, 0 without.
func (s *section) extensionID(uri string) uint8 {
	for _, e := range s.ext {
		if e.uri == uri {
			return e.id
		}
	}
	return 0
}

// offerLimits bound what parseOffer accepts.
type offerLimits struct {
	bytes    int
	sections int
}

// Bounds within one section.
const (
	maxMid        = 64 // characters
	maxFormats    = 128
	maxExtensions = 64
	maxSSRCs      = 32
	maxRids       = 8
	maxToken      = 256 // characters of a credential
)

// parseOffer reads an offer. Any text may come in; what cannot be answered gives an error that wraps ErrBadOffer.
func parseOffer(text string, limits offerLimits) (*offer, error) {
	if len(text) > limits.bytes {
		return nil, badOffer("it is longer than " + strconv.Itoa(limits.bytes) + " bytes")
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if strings.ContainsAny(text, "\r\x00") { // parts of it are written into answers
		return nil, badOffer("it has stray control characters")
	}
	var parsed sdp.SessionDescription
	if err := unmarshal(&parsed, text); err != nil {
		return nil, badOffer(err.Error())
	}
	if len(parsed.MediaDescriptions) == 0 {
		return nil, badOffer("it has no m-lines")
	}
	if len(parsed.MediaDescriptions) > limits.sections {
		return nil, badOffer("it has more than " + strconv.Itoa(limits.sections) + " m-lines")
	}
	o := &offer{setup: "actpass"}
	_, o.mixed = parsed.Attribute("extmap-allow-mixed")
	seen := make(map[string]bool)
	for _, m := range parsed.MediaDescriptions {
		s, err := parseSection(m)
		if err != nil {
			return nil, err
		}
		if seen[s.mid] {
			return nil, badOffer("mid " + strconv.Quote(s.mid) + " is there twice")
		}
		seen[s.mid] = true
		if direction := directionOf(parsed.Attributes, sendRecv); s.direction == "" {
			s.direction = direction
		}
		o.sections = append(o.sections, s)
	}
	markBundle(o, &parsed)
	return o, o.readTransport(&parsed)
}

func badOffer(why string) error { return fmt.Errorf("%w: %s", ErrBadOffer, why) }

// unmarshal guards against the parser: it is not ours, and what it gets is anybody's.
func unmarshal(parsed *sdp.SessionDescription, text string) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("unreadable")
		}
	}()
	return parsed.UnmarshalString(text)
}

func parseSection(m *sdp.MediaDescription) (section, error) {
	s := section{
		media: m.MediaName.Media, proto: strings.Join(m.MediaName.Protos, "/"), payloads: m.MediaName.Formats,
		direction: directionOf(m.Attributes, ""),
	}
	mid, ok := m.Attribute("mid")
	if !ok || mid == "" || len(mid) > maxMid || strings.ContainsAny(mid, " \t") {
		return s, badOffer("an m-line has no mid that can be used")
	}
	s.mid = mid
	_, bundleOnly := m.Attribute("bundle-only")
	s.dead = m.MediaName.Port.Value == 0 && !bundleOnly
	switch s.media {
	case "audio":
		s.kind = conference.Audio
	case "video":
		s.kind = conference.Video
	default:
		return s, nil
	}
	if len(s.payloads) > maxFormats {
		return s, badOffer("an m-line has more than " + strconv.Itoa(maxFormats) + " formats")
	}
	s.formats = parseFormats(m)
	s.readAttributes(m.Attributes)
	return s, nil
}

func directionOf(attributes []sdp.Attribute, otherwise string) string {
	for _, a := range attributes {
		switch a.Key {
		case sendRecv, sendOnly, recvOnly, inactive:
			return a.Key
		}
	}
	return otherwise
}

// parseFormats reads the payload types of an m-line in their order; those that mean nothing to us are left out.
func parseFormats(m *sdp.MediaDescription) []format {
	var formats []format
	at := make(map[string]int) // payload type to index
	for _, p := range m.MediaName.Formats {
		n, err := strconv.ParseUint(p, 10, 8)
		if _, twice := at[p]; err != nil || n > 127 || twice {
			continue
		}
		at[p] = len(formats)
		f := format{payloadType: uint8(n)}
		if c, ok := staticFormats[f.payloadType]; ok {
			f.name, f.clock, f.channels = c.name, c.clock, c.channels
		}
		formats = append(formats, f)
	}
	for _, a := range m.Attributes {
		payload, rest, _ := strings.Cut(a.Value, " ")
		i, known := at[payload]
		switch {
		case a.Key == "rtpmap" && known:
			formats[i].setMap(strings.TrimSpace(rest))
		case a.Key == "fmtp" && known:
			formats[i].fmtp = strings.TrimSpace(rest)
		case a.Key == "rtcp-fb" && known:
			formats[i].feedback = append(formats[i].feedback, strings.TrimSpace(rest))
		case a.Key == "rtcp-fb" && payload == "*":
			for i := range formats {
				formats[i].feedback = append(formats[i].feedback, strings.TrimSpace(rest))
			}
		}
	}
	return formats
}

// setMap reads "opus/48000/2".
func (f *format) setMap(rtpmap string) {
	parts := strings.Split(rtpmap, "/")
	f.rtpmap, f.name, f.clock, f.channels = rtpmap, strings.ToLower(parts[0]), 0, 1
	if len(parts) > 1 {
		f.clock, _ = strconv.Atoi(parts[1])
	}
	if len(parts) > 2 {
		f.channels, _ = strconv.Atoi(parts[2])
	}
}

func (s *section) readAttributes(attributes []sdp.Attribute) {
	for _, a := range attributes {
		fields := strings.Fields(a.Value)
		switch a.Key {
		case "rtcp-rsize":
			s.rsize = true
		case "extmap-allow-mixed":
			s.mixed = true
		case "extmap":
			s.readExtension(fields)
		case "ssrc-group":
			s.readGroup(fields)
		case "ssrc":
			if len(fields) == 0 {
				continue
			}
			n, ok := parseSSRC(fields[0])
			if ok && len(s.ssrcs) < maxSSRCs && !slices.Contains(s.ssrcs, n) {
				s.ssrcs = append(s.ssrcs, n)
			}
		case "simulcast":
			s.readSimulcast(fields)
		}
	}
	s.ssrcs = slices.DeleteFunc(s.ssrcs, func(n uint32) bool {
		return slices.ContainsFunc(s.repairs, func(r repair) bool { return r.ssrc == n })
	})
}

// readGroup reads "FID media repair" (RFC 5576 section 4.2) or "SIM layer layer …", which Plan B clients wrote for simulcast.
func (s *section) readGroup(fields []string) {
	var members []uint32
	for _, f := range fields[min(1, len(fields)):] {
		n, ok := parseSSRC(f)
		if !ok || len(members) == maxRids || slices.Contains(members, n) {
			return
		}
		members = append(members, n)
	}
	switch {
	case len(members) < 2:
	case fields[0] == "FID" && len(members) == 2 && len(s.repairs) < maxSSRCs:
		s.repairs = append(s.repairs, repair{ssrc: members[1], of: members[0]})
	case fields[0] == "SIM" && s.layers == nil:
		s.layers = members
	}
}

func parseSSRC(text string) (ssrc uint32, ok bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n != 0
}

// readExtension reads "3 urn:…" or "3/sendonly urn:…".
func (s *section) readExtension(fields []string) {
	if len(fields) < 2 || len(s.ext) == maxExtensions {
		return
	}
	id, _, _ := strings.Cut(fields[0], "/")
	if n, err := strconv.ParseUint(id, 10, 8); err == nil && n > 0 && s.extensionID(fields[1]) == 0 {
		s.ext = append(s.ext, extension{id: uint8(n), uri: fields[1]})
	}
}

// readSimulcast reads "send q;h,h2;~f recv …": of alternatives the first counts, paused layers like the others.
func (s *section) readSimulcast(fields []string) {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "send" {
			continue
		}
		for layer := range strings.SplitSeq(fields[i+1], ";") {
			rid, _, _ := strings.Cut(layer, ",")
			rid = strings.TrimPrefix(rid, "~")
			if isRid(rid) && len(s.rids) < maxRids && !slices.Contains(s.rids, rid) {
				s.rids = append(s.rids, rid)
			}
		}
	}
}

// isRid tells whether the text can be a rid (RFC 8851 section 10) of a length that fits a header extension.
func isRid(text string) bool {
	if text == "" || len(text) > 16 {
		return false
	}
	for _, c := range []byte(text) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// markBundle finds the sections that share the first one's transport. Without a BUNDLE group that is the first alone.
func markBundle(o *offer, parsed *sdp.SessionDescription) {
	var group []string
	for _, a := range parsed.Attributes {
		if fields := strings.Fields(a.Value); a.Key == "group" && len(fields) > 1 && fields[0] == "BUNDLE" {
			group = fields[1:]
			break
		}
	}
	inGroup := make(map[string]bool, len(group))
	for _, mid := range group {
		inGroup[mid] = true
	}
	for i := range o.sections {
		s := &o.sections[i]
		s.bundled = !s.dead && s.kind != "" && inGroup[s.mid]
	}
	if len(group) > 0 {
		o.tag = group[0]
		return
	}
	for i := range o.sections {
		if s := &o.sections[i]; !s.dead && s.kind != "" {
			s.bundled, o.tag = true, s.mid
			return
		}
	}
}

// open tells whether a section is left that needs a transport.
func (o *offer) open() bool {
	return slices.ContainsFunc(o.sections, func(s section) bool { return s.bundled })
}

// readTransport reads ICE and DTLS parameters: those of the session, or else of the first shared section that has them.
func (o *offer) readTransport(parsed *sdp.SessionDescription) error {
	o.readICE(parsed.Attributes)
	for i, m := range parsed.MediaDescriptions {
		if o.sections[i].bundled {
			o.readICE(m.Attributes)
		}
	}
	if !o.open() {
		return nil
	}
	switch {
	case !isToken(o.ufrag, 4) || !isToken(o.password, 22):
		return badOffer("it has no usable ICE credentials")
	case o.fingerprint == "":
		return badOffer("it has no usable fingerprint")
	case o.setup != "actpass" && o.setup != "active" && o.setup != "passive":
		return badOffer("its setup attribute is unknown")
	}
	return nil
}

func (o *offer) readICE(attributes []sdp.Attribute) {
	get := func(key string) string {
		for _, a := range attributes {
			if a.Key == key {
				return a.Value
			}
		}
		return ""
	}
	if o.ufrag == "" {
		o.ufrag, o.password = get("ice-ufrag"), get("ice-pwd")
	}
	if setup := get("setup"); setup != "" {
		o.setup = setup
	}
	for _, a := range attributes {
		switch a.Key {
		case "fingerprint":
			if o.fingerprint == "" && usableFingerprint(a.Value) {
				o.fingerprint = a.Value
			}
		case "candidate":
			if text := "candidate:" + a.Value; len(o.candidates) < maxSDPCandidates && !slices.Contains(o.candidates, text) {
				o.candidates = append(o.candidates, text)
			}
		}
	}
}

// maxSDPCandidates bounds the candidates taken from one offer.
const maxSDPCandidates = 64

// isToken tells whether the text can be an ICE credential of at least that length. Its characters go into a STUN attribute and
// into an SDP for pion, so they are checked.
func isToken(text string, shortest int) bool {
	if len(text) < shortest || len(text) > maxToken {
		return false
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// usableFingerprint tells whether the text is a hash of a certificate that is strong enough, such as "sha-256 AB:CD:…".
func usableFingerprint(text string) bool {
	algorithm, value, ok := strings.Cut(text, " ")
	if !ok {
		return false
	}
	size := map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}[strings.ToLower(algorithm)]
	if size == 0 || len(value) != 3*size-1 {
		return false
	}
	for i, c := range []byte(value) {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if (i%3 == 2) != (c == ':') || i%3 != 2 && !hex {
			return false
		}
	}
	return true
}
