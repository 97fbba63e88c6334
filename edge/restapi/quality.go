package restapi

import "portico/shared/jsonvalue"

// streamQuality answers GET …/rooms/{room}/streams/{stream}/quality, an addition of ours to the API of OWT: what comes of a forward stream,
// what each subscriber gets of it, and why. With ?participant=ID only that participant's subscriptions are told of.
//
// Rates are bit/s, sizes pixels, durations milliseconds, losses and shares 0 to 1, times ISO 8601 in UTC. What is not known is left out.
//
//	id, participant, user   the stream, who publishes it, and under which name
//	transport, path         its PeerConnection; path {local, remote}: the addresses that ICE has chosen
//	tracks[]                what the publisher sends, an entry for each encoding:
//	  id, kind, mid, rid, codec, muted, width, height
//	  layers[]              of video, the last second: {spatial, temporal, width, height, bitrate, frameRate}, each with those below it
//	  loss                  on the way here
//	  packets, bytes, packetsRequested (by NACK), keyFrames, keyFramesRequested
//	  drops[]               {reason, packets}: what was not kept
//	notMixed[]              what of the stream is left out of a mix at the moment, though it should be in it:
//	  view, kind            the mix's view; kind is left out where it is not known of what
//	  reason, since         in words
//	  until                 it is tried again then; left out: all the time
//	events[]                what happened last, oldest first:
//	  at, until, count      the latter two of what was repeated
//	  kind                  established, ready, path, begins, stops, layer, reason, display, key frame, estimate, loss, stall,
//	                        conversion (what is made for it does not come: reason)
//	  reason, detail        in words
//	  from, to              heights of pictures; of estimate bit/s, of loss percent
//	subscriptions[]         at most 200; omitted says how many more there are
//	  id, participant, user, transport, ready, path, events
//	  network               the way to the participant: estimate, by (nothing, twcc, remb, reports), wanted, sent, arrives,
//	                        rtt, queue (what the estimate sees pile up), loss, usage, probing, stalled
//	  tracks[]              kind, mid, from (the track it is of), made (mixed or transcoded; left out: it is forwarded as it came),
//	                        codec, adapts (whether layers are chosen for it), sending,
//	    displayed           {width, height} as the participant shows it
//	    source, target, current   the largest there is, what it is to get, what it gets: {rid, width, height, spatial, temporal}
//	    reason, since       why it is not more: asked for, displayed size, bandwidth, waiting for key frame, source has no more,
//	                        paused by subscriber, muted, overloaded, none
//	    bitrate, frameRate, loss, packets, bytes, packetsResent, drops[]
//	ended[]                 the last subscriptions that are no more: id, participant, at, reason (none: its owner ended it), events
func (c *call) streamQuality() (answer, error) {
	participant := ""
	if given := c.request.URL.Query()["participant"]; len(given) > 0 {
		participant = given[0]
	}
	var q jsonvalue.Value
	ok := false
	if isName(c.path[4]) {
		q, ok = c.Conferences.StreamQuality(c.ctx, c.room.ID, c.path[4], participant)
	}
	if !ok {
		return nil, errNoStream
	}
	return jsonAnswer(q)
}

// isName tells whether the text can be the id of something in a room (management API 1.4).
func isName(id string) bool {
	for _, c := range []byte(id) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return id != ""
}
