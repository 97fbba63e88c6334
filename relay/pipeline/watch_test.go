package pipeline

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// watched is a Watch that keeps account, and codecs whose decoders look whether they are in it.
type watched struct {
	fakes
	t testing.TB

	mu     sync.Mutex
	slots  []relayproto.Suspect       // the zero one is free
	begun  map[relayproto.Suspect]int // so often
	bare   int                        // calls of decoders outside of it
	failed map[conference.Kind]int    // of those, calls that failed
	made   map[conference.Kind]int    // calls for what was lost
}

func newWatched(t testing.TB) *watched {
	return &watched{t: t, begun: make(map[relayproto.Suspect]int), failed: make(map[conference.Kind]int), made: make(map[conference.Kind]int)}
}

// Begin implements Watch.
func (w *watched) Begin(input string, kind conference.Kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := relayproto.Suspect{Input: input, Kind: kind}
	w.begun[s]++
	for i := range w.slots {
		if w.slots[i] == (relayproto.Suspect{}) {
			w.slots[i] = s
			return i
		}
	}
	w.slots = append(w.slots, s)
	return len(w.slots) - 1
}

// End implements Watch.
func (w *watched) End(slot int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slots[slot] == (relayproto.Suspect{}) {
		w.t.Errorf("slot %d ends twice", slot)
	}
	w.slots[slot] = relayproto.Suspect{}
}

// busy is how many slots are taken.
func (w *watched) busy() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if s != (relayproto.Suspect{}) {
			n++
		}
	}
	return n
}

// called notes a decoder's call.
func (w *watched) called(kind conference.Kind, count map[conference.Kind]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if count != nil {
		count[kind]++
	}
	for _, s := range w.slots {
		if s.Kind == kind {
			return
		}
	}
	w.bare++
}

func (w *watched) VideoDecoder(name string) (codec.VideoDecoder, error) {
	d, err := w.fakes.VideoDecoder(name)
	return watchedPictures{d, w}, err
}

func (w *watched) AudioDecoder(f conference.Format) (codec.AudioDecoder, error) {
	d, err := w.fakes.AudioDecoder(f)
	return watchedSound{d, w}, err
}

type watchedPictures struct {
	codec.VideoDecoder
	w *watched
}

func (d watchedPictures) Decode(frame []byte) (*codec.Picture, error) {
	p, err := d.VideoDecoder.Decode(frame)
	if err != nil {
		d.w.called(conference.Video, d.w.failed)
	} else {
		d.w.called(conference.Video, nil)
	}
	return p, err
}

type watchedSound struct {
	codec.AudioDecoder
	w *watched
}

func (d watchedSound) Decode(pcm []int16, packet []byte) ([]int16, error) {
	out, err := d.AudioDecoder.Decode(pcm, packet)
	if err != nil {
		d.w.called(conference.Audio, d.w.failed)
	} else {
		d.w.called(conference.Audio, nil)
	}
	return out, err
}

func (d watchedSound) Conceal(pcm []int16, samples int) []int16 {
	d.w.called(conference.Audio, d.w.made)
	return d.AudioDecoder.Conceal(pcm, samples)
}

func (d watchedSound) Recover(pcm []int16, next []byte, samples int) []int16 {
	d.w.called(conference.Audio, d.w.made)
	return d.AudioDecoder.Recover(pcm, next, samples)
}

// TestDecodersAreWatched: every call is made between Begin and End of its input, also of what cannot be decoded, and what was lost.
func TestDecodersAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newWatched(t)
		w := newWorld(t, &f.fakes) // nobody watches those who listen
		w.job.Close()
		w.job = newJob(Options{Port: w, Now: func() int64 { return time.Now().UnixNano() }, Parallel: 2, Watch: f}, f)
		defer w.close()
		w.viewOf(64, 48, 30)
		good, bad := w.film("S1", "vp8", 32, 32, 30), w.film("S2", "vp8", 32, 32, 30)
		good.colour(red)
		bad.spoil = func(frame []byte) []byte { return frame[:len(frame)-1] }
		w.talk("S1", "P", opusFormat, 440, loud)
		w.talk("S2", "Q", opusFormat, 880, loud).net.loss = 0.2
		broken := w.talk("S3", "R", opusFormat, 880, loud)
		broken.encoder = spoiltSound{broken.encoder}
		w.scene("fluid", "S1", "S2")
		w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.listen("a", "", opusFormat)
		w.give()
		w.run(2 * time.Second)
		w.job.Close()
		if n := f.busy(); n != 0 {
			t.Errorf("%d slots are never free again", n)
		}
		if len(f.slots) > 3 {
			t.Errorf("%d slots of two pictures and sound at a time", len(f.slots))
		}
		if f.bare != 0 {
			t.Errorf("%d calls of decoders were not noted", f.bare)
		}
		for s, least := range map[relayproto.Suspect]int{
			{Input: "S1", Kind: conference.Video}: 40, {Input: "S1", Kind: conference.Audio}: 60, {Input: "S2", Kind: conference.Video}: 1,
			{Input: "S2", Kind: conference.Audio}: 60, {Input: "S3", Kind: conference.Audio}: 60,
		} {
			if f.begun[s] < least {
				t.Errorf("%+v was noted %d times", s, f.begun[s])
			}
		}
		if f.failed[conference.Video] == 0 || f.failed[conference.Audio] == 0 || f.made[conference.Audio] == 0 {
			t.Errorf("failed: %v, made up: %v", f.failed, f.made)
		}
	})
}

// spoiltSound makes packets that cannot be decoded.
type spoiltSound struct{ codec.AudioEncoder }

func (e spoiltSound) Encode(packet []byte, pcm []int16) ([]byte, error) {
	packet, err := e.AudioEncoder.Encode(packet, pcm)
	return append(packet, 0), err
}
