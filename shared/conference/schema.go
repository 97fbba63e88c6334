package conference

// A rule says what a member of a room document is: its type, what is checked, and what stands in for it. Plain defaults are
// not written here: they are read from the document of DefaultRoom at the same place.
type rule struct {
	kind   ruleKind
	fields []field // of object and documents

	standIn  string   // text: default where the default document has no element to look at
	required bool     // text: neither absent nor empty
	enum     []string // text
	fraction bool     // text: a fraction or a decimal
	min, max float64  // number; both 0: unbounded

	whole     bool // object: its default is the whole default object, not one member by member
	mayBeOff  bool // object: false is a value too
	mostItems int  // documents; 0: no limit of its own
}

type field struct {
	name string
	rule *rule
}

type ruleKind uint8

const (
	numberRule    ruleKind = iota
	booleanRule            // true, false and the words and numbers for them
	textRule               // strings; numbers and booleans are written as text
	objectRule             // known members only
	documentsRule          // an array of objects with known members
	verbatimRule           // an array whose elements are nobody's business
)

var (
	number   = &rule{kind: numberRule}
	boolean  = &rule{kind: booleanRule}
	text     = &rule{kind: textRule}
	verbatim = &rule{kind: verbatimRule}
	byteRule = &rule{kind: numberRule, min: 0, max: 255}
	share    = &rule{kind: textRule, required: true, fraction: true}
)

func object(fields ...field) *rule { return &rule{kind: objectRule, fields: fields} }

// maxViews bounds the views of a room: each is filled with some forty members, and mixed by itself.
const maxViews = 100

// roomSchema is the schema of room documents, in the order in which members are written. "_id" and "__v" are not in it:
// they are the store's, not the caller's.
var roomSchema = object(
	field{"name", &rule{kind: textRule, required: true}},
	field{"inputLimit", number},
	field{"participantLimit", number},
	field{"selectActiveAudio", boolean},
	field{"enableBandwidthAdaptation", boolean},
	field{"roles", verbatim},
	field{"views", &rule{kind: documentsRule, fields: viewFields, mostItems: maxViews}},
	field{"mediaIn", object(field{"audio", verbatim}, field{"video", verbatim})},
	field{"mediaOut", object(
		field{"audio", verbatim},
		field{"video", object(
			field{"format", verbatim},
			field{"parameters", object(
				field{"resolution", verbatim}, field{"framerate", verbatim},
				field{"bitrate", verbatim}, field{"keyFrameInterval", verbatim},
			)},
		)},
	)},
	field{"transcoding", object(
		field{"video", object(
			field{"parameters", object(
				field{"resolution", boolean}, field{"framerate", boolean},
				field{"bitrate", boolean}, field{"keyFrameInterval", boolean},
			)},
			field{"format", boolean},
		)},
		field{"audio", boolean},
	)},
	field{"notifying", object(field{"participantActivities", boolean}, field{"streamChange", boolean})},
	field{"sip", object(field{"sipServer", text}, field{"username", text}, field{"password", text})},
)

var viewFields = []field{
	{"label", text},
	{"audio", object(
		field{"format", &rule{kind: objectRule, whole: true, fields: []field{
			{"codec", text}, {"sampleRate", number}, {"channelNum", number},
		}}},
		field{"vad", boolean},
	)},
	{"video", &rule{kind: objectRule, mayBeOff: true, fields: []field{
		{"parameters", object(
			field{"resolution", object(field{"width", number}, field{"height", number})},
			field{"framerate", number},
			field{"bitrate", number},
			field{"keyFrameInterval", number},
		)},
		{"bgColor", object(field{"r", byteRule}, field{"g", byteRule}, field{"b", byteRule})},
		{"layout", object(
			field{"templates", object(
				field{"base", &rule{kind: textRule, enum: []string{"fluid", "lecture", "void"}}},
				field{"custom", &rule{kind: documentsRule, fields: []field{
					{"primary", text},
					{"region", &rule{kind: documentsRule, fields: regionFields}},
				}}},
			)},
			field{"fitPolicy", &rule{kind: textRule, enum: []string{"letterbox", "crop"}}},
			field{"setRegionEffect", text},
		)},
		{"format", &rule{kind: objectRule, whole: true, fields: []field{{"codec", text}, {"profile", text}}}},
		{"maxInput", &rule{kind: numberRule, min: 1, max: 256}},
		{"motionFactor", number},
		{"keepActiveInputPrimary", boolean},
	}}},
}

var regionFields = []field{
	{"id", &rule{kind: textRule, required: true}},
	{"shape", &rule{kind: textRule, enum: []string{"rectangle"}, standIn: "rectangle"}},
	{"area", object(field{"left", share}, field{"top", share}, field{"width", share}, field{"height", share})},
}

// defaults is the document of DefaultRoom.
var defaults = DefaultRoom().Value()
