package client

import "strings"

// accepted lists the mids of an answer's m-lines that carry media in that direction, "sendonly" or "recvonly" as the answerer sees it.
// It reads no more of the SDP (RFC 8866) than that; garbage gives an empty set.
func accepted(answer, direction string) map[string]bool {
	mids := map[string]bool{}
	mid, port, dir := "", "", ""
	session := "sendrecv" // the default direction (RFC 8866 section 6.7)
	media := false
	flush := func() {
		if media && mid != "" && port != "0" && (dir == direction || dir == "sendrecv") {
			mids[mid] = true
		}
	}
	for line := range strings.SplitSeq(answer, "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case strings.HasPrefix(line, "m="):
			flush()
			media, mid, dir = true, "", session
			_, rest, _ := strings.Cut(line, " ")
			port, _, _ = strings.Cut(rest, " ")
		case strings.HasPrefix(line, "a=mid:"):
			mid = line[len("a=mid:"):]
		case line == "a=sendonly", line == "a=recvonly", line == "a=sendrecv", line == "a=inactive":
			if dir = line[len("a="):]; !media {
				session = dir
			}
		}
	}
	flush()
	return mids
}

// mlines counts the m-lines of an SDP; an answer has as many as its offer (RFC 3264 section 6).
func mlines(sdp string) int {
	n := 0
	for line := range strings.SplitSeq(sdp, "\n") {
		if strings.HasPrefix(line, "m=") {
			n++
		}
	}
	return n
}

// ufrag is the first ICE user name of an SDP (RFC 8839 section 5.4); empty when there is none.
func ufrag(sdp string) string {
	for line := range strings.SplitSeq(sdp, "\n") {
		if text, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			return strings.TrimSuffix(text, "\r")
		}
	}
	return ""
}
