package library

import (
	"portico/relay/codec/g711"
	"portico/relay/codec/g722"
	"portico/shared/conference"
)

// plainAudio needs no C.
var plainAudio = []audioCodec{
	{conference.Format{Codec: "g722", SampleRate: 16_000, ChannelNum: 1}, g722.NewDecoder, g722.NewEncoder},
	{conference.Format{Codec: "pcma"}, g711.NewDecoder, g711.NewEncoder},
	{conference.Format{Codec: "pcmu"}, g711.NewDecoder, g711.NewEncoder},
}
