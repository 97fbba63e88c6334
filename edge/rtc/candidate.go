package rtc

import (
	"net/netip"
	"strconv"
	"strings"

	"portico/edge/peer"
)

// maxCandidate is the length of the longest candidate line that is read, in characters.
const maxCandidate = 512

// cleanCandidate checks a candidate as a client wrote it and returns it beginning with "candidate:". ok is false for all that
// ICE has no use for: the end of candidates, other transports than UDP, the second component, names (.local), and addresses
// that are no peer's.
func cleanCandidate(text string, loopback bool) (clean string, ok bool) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "a=")
	if len(text) > maxCandidate || !strings.HasPrefix(text, "candidate:") || strings.ContainsAny(text, "\r\n\x00") {
		return "", false
	}
	fields := strings.Fields(text)
	if len(fields) < 8 || fields[1] != "1" || !strings.EqualFold(fields[2], "udp") || fields[6] != "typ" {
		return "", false
	}
	address, err := netip.ParseAddr(fields[4])
	if err != nil || address.IsUnspecified() || address.IsMulticast() || address.IsLoopback() && !loopback {
		return "", false
	}
	if port, err := strconv.ParseUint(fields[5], 10, 16); err != nil || port == 0 {
		return "", false
	}
	return strings.Join(fields, " "), true
}

// candidateKey is what tells candidates apart: component, protocol, address, port and type (portal protocol 8.3).
func candidateKey(clean string) string {
	f := strings.Fields(clean)
	return strings.Join([]string{f[1], strings.ToLower(f[2]), f[4], f[5], f[7]}, " ")
}

// localCandidates are the candidates of our side for an answer: those that ICE gathered, or the public addresses in their place,
// with loopback ones kept. tcp is the port for connections of TCP, 0 for none.
func localCandidates(gathered, public []string, port, tcp int) []string {
	var list []string
	seen := make(map[string]bool)
	add := func(c string) {
		if !seen[c] {
			seen[c] = true
			list = append(list, c)
		}
	}
	for i, ip := range public {
		add(peer.UDPCandidate(i, ip, port))
	}
	for i, ip := range public {
		if tcp != 0 {
			add(peer.TCPCandidate(i, ip, tcp))
		}
	}
	for _, c := range gathered {
		fields := strings.Fields(c)
		if len(fields) < 8 || fields[1] != "1" {
			continue
		}
		address, err := netip.ParseAddr(fields[4])
		if len(public) > 0 && (err != nil || !address.IsLoopback()) {
			continue
		}
		add(c)
	}
	return list
}
