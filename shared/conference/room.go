package conference

// Room is the configuration of a room as the management API stores it (rooms-and-media 1). The fields keep the API's names.
type Room struct {
	ID                        string      `json:"_id"` // 24 lower-case hexadecimal digits
	Name                      string      `json:"name"`
	InputLimit                int         `json:"inputLimit"`       // publications; negative: no limit, 0: nobody publishes
	ParticipantLimit          int         `json:"participantLimit"` // participants; 0 and negative: no limit
	SelectActiveAudio         bool        `json:"selectActiveAudio"`
	EnableBandwidthAdaptation bool        `json:"enableBandwidthAdaptation"`
	Roles                     []Role      `json:"roles"`
	Views                     []View      `json:"views"`
	MediaIn                   MediaIn     `json:"mediaIn"`
	MediaOut                  MediaOut    `json:"mediaOut"`
	Transcoding               Transcoding `json:"transcoding"`
	Notifying                 Notifying   `json:"notifying"`
	SIP                       *SIP        `json:"sip,omitempty"`
	Version                   int         `json:"__v"` // counts replacements of array members by PUT
}

// Role is a named set of permissions within a room.
type Role struct {
	Role      string   `json:"role"`
	Publish   MediaSet `json:"publish"`
	Subscribe MediaSet `json:"subscribe"`
}

// MediaIn lists what may be published; an empty list forbids the kind.
type MediaIn struct {
	Audio []AudioFormat `json:"audio"`
	Video []VideoFormat `json:"video"`
}

// MediaOut lists what the room may convert streams to.
type MediaOut struct {
	Audio []AudioFormat `json:"audio"`
	Video VideoOut      `json:"video"`
}

// VideoOut is the video part of MediaOut.
type VideoOut struct {
	Format     []VideoFormat      `json:"format"`
	Parameters VideoOutParameters `json:"parameters"`
}

// VideoOutParameters lists the values a subscriber may ask for: resolutions as names or factors ("x1/2", "hd720p", "r640x360"),
// frame rates a second, bit rates as factors ("x0.8"), key frame intervals in seconds.
type VideoOutParameters struct {
	Resolution       []string  `json:"resolution"`
	Framerate        []float64 `json:"framerate"`
	Bitrate          []string  `json:"bitrate"`
	KeyFrameInterval []float64 `json:"keyFrameInterval"`
}

// Transcoding says which properties of a stream may be changed for a subscriber.
type Transcoding struct {
	Video VideoTranscoding `json:"video"`
	Audio bool             `json:"audio"`
}

// VideoTranscoding is the video part of Transcoding.
type VideoTranscoding struct {
	Parameters TranscodingParameters `json:"parameters"`
	Format     bool                  `json:"format"`
}

// TranscodingParameters is Transcoding for each video parameter.
type TranscodingParameters struct {
	Resolution       bool `json:"resolution"`
	Framerate        bool `json:"framerate"`
	Bitrate          bool `json:"bitrate"`
	KeyFrameInterval bool `json:"keyFrameInterval"`
}

// Notifying switches the notifications of a room.
type Notifying struct {
	ParticipantActivities bool `json:"participantActivities"`
	StreamChange          bool `json:"streamChange"`
}

// SIP is a room's account at a SIP server.
type SIP struct {
	SIPServer string `json:"sipServer,omitempty"`
	Username  string `json:"username,omitempty"`
	Password  string `json:"password,omitempty"`
}

// RoleNamed finds a role of the room.
func (r *Room) RoleNamed(name string) (Role, bool) {
	for _, role := range r.Roles {
		if role.Role == name {
			return role, true
		}
	}
	return Role{}, false
}

// View is the configuration of one mixed stream of a room.
type View struct {
	Label string
	Audio ViewAudio
	Video *ViewVideo // nil for an audio-only view, "video": false in JSON
}

// ViewAudio is how a view sounds.
type ViewAudio struct {
	Format AudioFormat `json:"format"`
	VAD    bool        `json:"vad"` // report the loudest input
}

// ViewVideo is how a view looks.
type ViewVideo struct {
	Format                 VideoFormat    `json:"format"`
	Parameters             ViewParameters `json:"parameters"`
	MaxInput               int            `json:"maxInput"`     // visible inputs, 1 to 256
	MotionFactor           float64        `json:"motionFactor"` // multiplies the default bit rate
	BgColor                Color          `json:"bgColor"`
	KeepActiveInputPrimary bool           `json:"keepActiveInputPrimary"`
	Layout                 Layout         `json:"layout"`
}

// ViewParameters is the picture a view makes.
type ViewParameters struct {
	Resolution       Resolution `json:"resolution"`
	Framerate        float64    `json:"framerate"`         // pictures a second
	Bitrate          float64    `json:"bitrate,omitempty"` // kbit/s; 0: by resolution and rate
	KeyFrameInterval float64    `json:"keyFrameInterval"`  // seconds
}

// Color is an RGB colour, each part 0 to 255.
type Color struct {
	R int `json:"r"`
	G int `json:"g"`
	B int `json:"b"`
}

// Layout says where the inputs of a view go.
type Layout struct {
	FitPolicy string    `json:"fitPolicy"` // letterbox or crop
	Templates Templates `json:"templates"`
}

// Templates are the layouts a view chooses from by number of inputs: a built-in series and the room's own.
type Templates struct {
	Base   string     `json:"base"` // fluid, lecture or void
	Custom []Template `json:"custom"`
}

// Template is one layout of the room's own.
type Template struct {
	Primary string   `json:"primary,omitempty"`
	Region  []Region `json:"region"`
}

// Region is a place in a layout.
type Region struct {
	ID    string `json:"id"`
	Shape string `json:"shape"` // rectangle
	Area  Area   `json:"area"`
}

// Area is a rectangle in fractions of the picture, each "n/d".
type Area struct {
	Left   string `json:"left"`
	Top    string `json:"top"`
	Width  string `json:"width"`
	Height string `json:"height"`
}
