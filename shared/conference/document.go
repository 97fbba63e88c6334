package conference

import (
	"strings"

	"portico/shared/jsonvalue"
)

// A room document is a room's configuration as it is stored and shown: a JSON object with the members of rooms-and-media 1.1
// and "_id" and "__v". It can hold less than a Room: after a replacement by UpdateRoomDocument members of nested objects may
// be missing, which read as their defaults (management API 5.4). ReadRoom is its typed reading.

// RoomError says why a room configuration is refused, in the exact words of management API 5.5.
type RoomError struct {
	Class string // ValidationError, Error or TypeError: shown before the text when a room is created, not when it is changed
	Text  string
}

func (e *RoomError) Error() string { return e.Text }

var errViewConflict = &RoomError{"Error", "MediaOut conflicts with View Setting"}

// NewRoomDocument makes the document of a new room from what its creator asked for (management API 5.1). Options that are no
// object count as none. The document has "_id" only if the options name one, which must be an id of 24 hexadecimal digits.
// The error is a *RoomError.
func NewRoomDocument(name string, options jsonvalue.Value) (jsonvalue.Value, error) {
	if options.Kind() != jsonvalue.Object {
		options = jsonvalue.OfObject()
	}
	options = withoutNulls(options).With("name", jsonvalue.Of(name))
	for _, member := range []string{"roles", "views", "mediaIn", "mediaOut"} {
		if !options.Get(member).Truthy() {
			options = options.With(member, defaults.Get(member))
		}
	}
	if hasSilentView(options.Get("views")) {
		return jsonvalue.Value{}, &RoomError{"TypeError", "Cannot read properties of undefined (reading 'codec')"}
	}
	c := caster{fill: true}
	id := c.id(options.Get("_id"))
	doc := c.members(roomSchema.fields, options, place{}, defaults)
	if err := c.verdict(doc); err != nil {
		return jsonvalue.Value{}, err
	}
	return doc.With("_id", id).With("__v", jsonvalue.OfInt(0)), nil
}

// UpdateRoomDocument replaces the members of the document that changes has, each as a whole (management API 5.4); null
// members and unknown ones are ignored. "__v" grows by one when an array was replaced. The error is a *RoomError.
func UpdateRoomDocument(doc, changes jsonvalue.Value) (jsonvalue.Value, error) {
	changes = withoutNulls(changes)
	if hasSilentView(changes.Get("views")) {
		return jsonvalue.Value{}, &RoomError{"TypeError", "Cannot read properties of undefined (reading 'codec')"}
	}
	doc = FillRoomDocument(doc)
	var c caster
	if id := c.id(changes.Get("_id")); id.Exists() && !jsonvalue.Equal(id, doc.Get("_id")) {
		return jsonvalue.Value{}, &RoomError{"DocumentNotFoundError",
			`No document found for query "{ _id: new ObjectId("` + id.Text() + `") }" on model "Room"`}
	}
	arrays := false
	for _, f := range roomSchema.fields {
		given := changes.Get(f.name)
		if !given.Exists() {
			continue
		}
		v := c.value(f.rule, given, place{}.member(f.name), defaults.Get(f.name))
		if v.Exists() || f.rule.kind == objectRule { // an empty object clears, an empty number does not count
			doc = doc.With(f.name, v)
		}
		arrays = arrays || v.Kind() == jsonvalue.Array
	}
	if err := c.verdict(doc); err != nil {
		return jsonvalue.Value{}, err
	}
	if version, _ := doc.Get("__v").Int(); arrays {
		doc = doc.With("__v", jsonvalue.OfInt(version+1))
	}
	return doc, nil
}

// FillRoomDocument gives the members missing in a document their defaults, as lists show it and as the conference reads it.
// Whatever the document holds, the result has every member but "sip" in its proper type; "_id" and "__v" stay.
func FillRoomDocument(doc jsonvalue.Value) jsonvalue.Value {
	c := caster{fill: true}
	filled := c.members(roomSchema.fields, doc, place{}, defaults)
	return filled.With("_id", doc.Get("_id")).With("__v", doc.Get("__v"))
}

// id casts a database id: absent, or the 24 hexadecimal digits in lower case.
func (c *caster) id(v jsonvalue.Value) jsonvalue.Value {
	if !v.Exists() {
		return v
	}
	id := strings.ToLower(v.Text())
	if len(id) != 24 || strings.Trim(id, "0123456789abcdef") != "" {
		c.wrongType(place{}.member("_id"), "ObjectId", v)
		return jsonvalue.Value{}
	}
	return jsonvalue.Of(id)
}

// verdict is the error for the document just cast, or nil.
func (c *caster) verdict(doc jsonvalue.Value) error {
	if viewsConflict(doc) {
		return errViewConflict
	}
	if len(c.faults) > 0 {
		return &RoomError{"ValidationError", "Room validation failed: " + strings.Join(c.faults, ", ")}
	}
	return nil
}

// viewsConflict tells whether a view of the document has a format that mediaOut does not list. A format of another type was
// dropped by the caster, and conflicts.
func viewsConflict(doc jsonvalue.Value) bool {
	views, out := doc.Get("views"), doc.Get("mediaOut")
	for i := range views.Len() {
		view := views.Index(i)
		if !listed(out.Get("audio"), view.Path("audio", "format"), "codec", "sampleRate", "channelNum") {
			return true
		}
		video := view.Get("video")
		if video.Kind() == jsonvalue.Object && !listed(out.Path("video", "format"), video.Get("format"), "codec", "profile") {
			return true
		}
	}
	return false
}

func listed(formats, format jsonvalue.Value, members ...string) bool {
	for i := range formats.Len() {
		same := true
		for _, m := range members {
			same = same && jsonvalue.Equal(formats.Index(i).Get(m), format.Get(m))
		}
		if same {
			return true
		}
	}
	return false
}

// hasSilentView tells whether one of the views asks for no audio, which no view can do without.
func hasSilentView(views jsonvalue.Value) bool {
	for i := range max(views.Len(), 1) {
		view := views
		if views.Kind() == jsonvalue.Array {
			view = views.Index(i)
		}
		if audio := view.Get("audio"); audio.Kind() == jsonvalue.Bool && !audio.Bool() {
			return true
		}
	}
	return false
}

// withoutNulls removes null members and elements at every depth.
func withoutNulls(v jsonvalue.Value) jsonvalue.Value {
	switch v.Kind() {
	case jsonvalue.Array:
		elements := make([]jsonvalue.Value, 0, v.Len())
		for i := range v.Len() {
			if e := v.Index(i); !e.IsNull() {
				elements = append(elements, withoutNulls(e))
			}
		}
		return jsonvalue.OfArray(elements...)
	case jsonvalue.Object:
		members := make([]jsonvalue.Member, 0, v.Len())
		for i := range v.Len() {
			if m := v.Member(i); !m.Value.IsNull() {
				members = append(members, jsonvalue.M(m.Name, withoutNulls(m.Value)))
			}
		}
		return jsonvalue.OfObject(members...)
	}
	return v
}
