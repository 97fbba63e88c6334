package portalproto

import (
	"strconv"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Versions 1.0 and 1.1 know one audio and one video in a session, without tracks: "flat" media. Requests are raised to the
// current form here (portal protocol 3.3), streams are lowered from it (3.4).

var falseValue = schema{isFalse: true}

// orFalse is an object of the given shape, or the constant false for "none of this kind".
func orFalse(object *schema) *schema { return &schema{anyOf: []schema{*object, falseValue}} }

var flatPublishSchema = closedObject([]string{"media"},
	prop{"media", closedObject([]string{"audio", "video"},
		prop{"audio", orFalse(closedObject([]string{"source"}, prop{"source", oneOf("mic", "screen-cast", "raw-file", "encoded-file")}))},
		prop{"video", orFalse(closedObject([]string{"source"}, prop{"source", oneOf("camera", "screen-cast", "raw-file", "encoded-file")},
			prop{"parameters", &schema{types: []string{"object"}, props: []prop{{"resolution", resolutionSchema}, {"framerate", aNumber}}}}))})},
	prop{"attributes", anObject})

var flatSubscribeSchema = closedObject([]string{"media"},
	prop{"media", closedObject([]string{"audio", "video"},
		prop{"audio", orFalse(closedObject([]string{"from"}, prop{"from", aString}, prop{"format", formatSchema}))},
		prop{"video", orFalse(closedObject([]string{"from"}, prop{"from", aString}, prop{"format", formatSchema},
			prop{"parameters", wantedSchema}, prop{"simulcastRid", aString}))})})

// eachFlat calls f for the kinds a request has, audio first, with the mid its m-line must have.
func eachFlat(media jsonvalue.Value, f func(kind conference.Kind, mid string, v jsonvalue.Value)) {
	n := 0
	for _, kind := range []conference.Kind{conference.Audio, conference.Video} {
		if v := media.Get(string(kind)); v.Truthy() {
			f(kind, strconv.Itoa(n), v)
			n++
		}
	}
}

func decodeFlatPublish(v jsonvalue.Value) (PublishRequest, error) {
	if err := flatPublishSchema.check(v); err != nil {
		return PublishRequest{}, err
	}
	r := PublishRequest{Attributes: v.Get("attributes"), Transport: TransportRef{Type: transportWebRTC}}
	eachFlat(v.Get("media"), func(kind conference.Kind, mid string, v jsonvalue.Value) {
		r.Tracks = append(r.Tracks, PublishTrack{Kind: kind, Mid: mid, Source: v.Get("source").Text()})
	})
	return r, nil
}

func decodeFlatSubscribe(v jsonvalue.Value) (SubscribeRequest, error) {
	if err := flatSubscribeSchema.check(v); err != nil {
		return SubscribeRequest{}, err
	}
	r := SubscribeRequest{Transport: TransportRef{Type: transportWebRTC}}
	eachFlat(v.Get("media"), func(kind conference.Kind, mid string, v jsonvalue.Value) {
		r.Tracks = append(r.Tracks, SubscribeTrack{Kind: kind, Mid: mid, From: v.Get("from").Text(),
			Rid: v.Get("simulcastRid").Text(), Wanted: decodeWanted(v.Get("parameters"))})
	})
	return r, nil
}

// encodeFlatMedia is the media member of a stream for a client of 1.0 or 1.1.
func encodeFlatMedia(s *conference.Stream, to Receiver) jsonvalue.Value {
	var audio, video jsonvalue.Value
	if t, ok := s.Track(s.ID, conference.Audio); ok {
		audio = jsonvalue.OfObject(
			jsonvalue.M("status", encodeStatus(&t)), jsonvalue.M("source", encodeSource(&t, to)),
			jsonvalue.M("format", encodeFormat(t.Format)), jsonvalue.M("optional", encodeOptional(&t)))
	}
	if t, ok := s.Track(s.ID, conference.Video); ok {
		members := []jsonvalue.Member{
			jsonvalue.M("status", encodeStatus(&t)), jsonvalue.M("source", encodeSource(&t, to)), jsonvalue.M("optional", encodeOptional(&t)),
		}
		if to.Version == V10 {
			members = append(members, jsonvalue.M("format", encodeFormat(t.Format)), jsonvalue.M("parameters", encodeParameters(t.Parameters)))
		} else {
			members = append(members, jsonvalue.M("original", encodeOriginal(s, t)))
		}
		video = jsonvalue.OfObject(members...)
	}
	return jsonvalue.OfObject(jsonvalue.M("audio", audio), jsonvalue.M("video", video))
}

// encodeOriginal lists the encodings of a video track: one, or the layers of a simulcast m-line.
func encodeOriginal(s *conference.Stream, first conference.Track) jsonvalue.Value {
	var list []jsonvalue.Value
	for _, t := range s.Tracks {
		if t.ID == first.ID && t.Kind == first.Kind || first.Rid != "" && t.Kind == first.Kind && t.Mid == first.Mid {
			list = append(list, jsonvalue.OfObject(jsonvalue.M("format", encodeFormat(t.Format)),
				jsonvalue.M("parameters", encodeParameters(t.Parameters)), jsonvalue.M("simulcastRid", optionalText(t.Rid))))
		}
	}
	return jsonvalue.OfArray(list...)
}
