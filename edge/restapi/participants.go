package restapi

import (
	"slices"
	"strings"

	"portico/edge/room"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// maxChanges is how many operations one PATCH may have.
const maxChanges = 1000

func (c *call) listParticipants() (answer, error) {
	all, err := c.Conferences.Participants(c.ctx, c.room.ID)
	if err != nil {
		return nil, c.refused(err)
	}
	var list []jsonvalue.Value
	for _, p := range all {
		list = append(list, p.Value())
	}
	return jsonAnswer(jsonvalue.OfArray(list...))
}

func (c *call) getParticipant() (answer, error) {
	list, err := c.Conferences.Participants(c.ctx, c.room.ID)
	if err != nil {
		return nil, c.refused(err)
	}
	i := slices.IndexFunc(list, func(p conference.Participant) bool { return p.ID == c.path[4] })
	if i < 0 {
		return nil, errNoParticipant
	}
	return jsonAnswer(list[i].Value())
}

// changeParticipant changes a permission (management API 7): of several operations those that make sense are carried out also when
// another one does not.
func (c *call) changeParticipant() (answer, error) {
	if c.body.Kind() != jsonvalue.Array || c.body.Len() > maxChanges {
		return nil, errOperation
	}
	change, all := room.PermissionChange{}, true
	for i := range c.body.Len() {
		all = readPermissionChange(c.body.Index(i), &change) && all
	}
	p, err := c.Conferences.ChangePermission(c.ctx, c.room.ID, c.path[4], change)
	if err != nil {
		return nil, c.refused(err)
	}
	if !all {
		return nil, errOperation
	}
	c.Log.Info("permission changed", "room", c.room.ID, "participant", p.ID, "service", c.service.ID)
	return jsonAnswer(p.Value())
}

// readPermissionChange adds one operation to a change, if it is one.
func readPermissionChange(op jsonvalue.Value, change *room.PermissionChange) bool {
	path, value := op.Get("path").Text(), op.Get("value")
	if op.Len() != 3 || op.Get("op").Text() != "replace" {
		return false
	}
	path, ok := strings.CutPrefix(path, "/permission/")
	right, kind, _ := strings.Cut(path, "/")
	audio, video := &change.PublishAudio, &change.PublishVideo
	if right == "subscribe" {
		audio, video = &change.SubscribeAudio, &change.SubscribeVideo
	} else if right != "publish" {
		return false
	}
	a, v := value.Get("audio"), value.Get("video")
	switch {
	case !ok:
		return false
	case path == right && value.Len() == 2 && isBool(a) && isBool(v):
		*audio, *video = yesOrNo(a), yesOrNo(v)
	case kind == "audio" && isBool(value):
		*audio = yesOrNo(value)
	case kind == "video" && isBool(value):
		*video = yesOrNo(value)
	default:
		return false
	}
	return true
}

func isBool(v jsonvalue.Value) bool { return v.Kind() == jsonvalue.Bool }

func yesOrNo(v jsonvalue.Value) *bool {
	b := v.Bool()
	return &b
}

func (c *call) dropParticipant() (answer, error) {
	if err := c.Conferences.DropParticipant(c.ctx, c.room.ID, c.path[4]); err != nil {
		return nil, c.refused(err)
	}
	c.Log.Info("participant dropped", "room", c.room.ID, "participant", c.path[4], "service", c.service.ID)
	return emptyAnswer()
}

// refused is the answer to what a room has refused. Why it has is for the log alone (management API 3).
func (c *call) refused(err error) error {
	c.Log.Info("room refused an operation", "room", c.room.ID, "method", c.request.Method, "path", c.request.URL.Path, "reason", err)
	return errOperation
}
