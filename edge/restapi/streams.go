package restapi

import (
	"slices"
	"strconv"
	"strings"

	"portico/edge/room"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// streamJSON is a stream as this version of the API shows it (management API 8.1): its media in the form that clients of the protocol's
// older versions see.
func (c *call) streamJSON(s conference.Stream) jsonvalue.Value {
	form := portalproto.Receiver{Version: portalproto.V10}
	if lower(c.path[0]) == "v1.1" {
		form.Version = portalproto.V11
	}
	return portalproto.EncodeStream(&s, form)
}

func (c *call) listStreams() (answer, error) {
	all, err := c.Conferences.Streams(c.ctx, c.room.ID)
	if err != nil {
		return nil, c.refused(err)
	}
	var list []jsonvalue.Value
	for _, s := range all {
		list = append(list, c.streamJSON(s))
	}
	return jsonAnswer(jsonvalue.OfArray(list...))
}

func (c *call) getStream() (answer, error) {
	list, err := c.Conferences.Streams(c.ctx, c.room.ID)
	if err != nil {
		return nil, c.refused(err)
	}
	i := slices.IndexFunc(list, func(s conference.Stream) bool { return s.ID == c.path[4] })
	if i < 0 {
		return nil, errNoStream
	}
	return jsonAnswer(c.streamJSON(list[i]))
}

// changeStream mixes, mutes and moves (management API 8.3). Nothing happens when one of the operations is none.
func (c *call) changeStream() (answer, error) {
	if c.body.Kind() != jsonvalue.Array || c.body.Len() > maxChanges {
		return nil, errOperation
	}
	changes := make([]room.StreamChange, c.body.Len())
	for i := range changes {
		var err error
		if changes[i], err = readStreamChange(c.body.Index(i)); err != nil {
			return nil, c.refused(err)
		}
	}
	s, err := c.Conferences.ChangeStream(c.ctx, c.room.ID, c.path[4], changes)
	if err != nil {
		return nil, c.refused(err)
	}
	return jsonAnswer(c.streamJSON(s))
}

// readStreamChange reads an operation. The error says what is wrong, for the log.
func readStreamChange(op jsonvalue.Value) (room.StreamChange, error) {
	path, value := op.Get("path").Text(), op.Get("value")
	what := op.Get("op").Text() + " " + path
	if op.Len() != 3 {
		return nil, errBadRequest
	}
	switch what {
	case "add /info/inViews", "remove /info/inViews":
		if value.Kind() != jsonvalue.String {
			return nil, errBadRequest
		}
		if op.Get("op").Text() == "add" {
			return room.MixInto{View: value.Text()}, nil
		}
		return room.UnmixFrom{View: value.Text()}, nil
	case "replace /media/audio/status", "replace /media/video/status":
		kind, active := conference.Audio, value.Text() == "active"
		if strings.Contains(path, "video") {
			kind = conference.Video
		}
		if !active && value.Text() != "inactive" {
			return nil, errBadRequest
		}
		return room.SetStatus{Kind: kind, Active: active}, nil
	case "replace /info/layout":
		scene, err := layout.ReadLayout(value)
		if err != nil {
			return nil, err
		}
		return room.SetLayout{Scene: scene}, nil
	}
	region, ok := regionOf(what)
	if !ok || value.Text() == "" {
		return nil, errBadRequest
	}
	return room.Occupy{Region: region, Stream: value.Text()}, nil
}

// regionOf is the number in "replace /info/layout/<number>/stream".
func regionOf(what string) (int, bool) {
	text, ok := strings.CutPrefix(what, "replace /info/layout/")
	text, end := strings.CutSuffix(text, "/stream")
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), ok && end && err == nil
}

func (c *call) deleteStream() (answer, error) {
	if err := c.Conferences.DeleteStream(c.ctx, c.room.ID, c.path[4]); err != nil {
		return nil, c.refused(err)
	}
	c.Log.Info("stream deleted", "room", c.room.ID, "stream", c.path[4], "service", c.service.ID)
	return emptyAnswer()
}
