package feedback

import "time"

// How often key frames are asked for.
const (
	keyFramePause = 500 * time.Millisecond // between two requests, so that there are two a second at most
	keyFrameMax   = 4 * time.Second        // the pause doubles up to this while no key frame comes
)

// KeyFrames merges the wishes for a key frame of one encoding into few requests: the first goes out at once, those that come
// while one is under way wait for it. The zero value is ready. Its caller serialises the calls.
type KeyFrames struct {
	wanted bool
	sent   int64 // when the last request went out; 0: never
	pause  int64 // until the next may; 0: the shortest
}

// Request notes that somebody needs a key frame. It returns true when a request is to be sent now.
func (k *KeyFrames) Request(now int64) bool {
	k.wanted = true
	return k.Due(now)
}

// Due tells whether a request is to be sent now: one is wanted and the last is long enough ago.
func (k *KeyFrames) Due(now int64) bool {
	if !k.wanted || k.sent != 0 && now-k.sent < max(k.pause, int64(keyFramePause)) {
		return false
	}
	k.sent = now
	k.pause = min(max(2*k.pause, int64(keyFramePause)), int64(keyFrameMax))
	return true
}

// Began notes that the encoding's first packet came. A request from before it may have found no way to the sender yet, so that it does not
// count: the next may go out at once.
func (k *KeyFrames) Began() { k.sent, k.pause = 0, 0 }

// Wanted tells whether a key frame is being waited for.
func (k *KeyFrames) Wanted() bool { return k.wanted }

// Arrived notes that a key frame came: everybody who waited has it.
func (k *KeyFrames) Arrived() {
	k.wanted = false
	k.pause = 0
}
