package cascade

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// fakeJobs makes mixes out of nothing: what comes of them ends with the mark of their edge.
type fakeJobs struct {
	t      testing.TB
	engine *rtc.Engine
	mark   byte
	done   sync.WaitGroup

	mu      sync.Mutex
	outputs []*fakeOutput
	mixers  []*fakeMixer
}

type fakeMixer struct {
	feeds []*rtc.Feed

	mu      sync.Mutex
	follows string
	mix     room.Mix
}

func (j *fakeJobs) OpenMixer(spec room.MixerSpec) room.Mixer {
	m := new(fakeMixer)
	for _, kind := range []conference.Kind{conference.Audio, conference.Video} {
		f, err := j.engine.OpenFeed(room.MixedTrack(spec.Stream, kind), kind)
		if err != nil {
			j.t.Error(err)
			continue
		}
		m.feeds = append(m.feeds, f)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mixers = append(j.mixers, m)
	return m
}

func (m *fakeMixer) Update(mix room.Mix) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mix, m.follows = mix, ""
}

func (m *fakeMixer) Follow(edge string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mix, m.follows = room.Mix{}, edge
}

func (m *fakeMixer) Ready() error { return nil }

func (m *fakeMixer) Close() {
	for _, f := range m.feeds {
		f.Close()
	}
}

// fakeOutput implements rtc.Output and sfu.Upstream.
type fakeOutput struct {
	jobs *fakeJobs
	wish rtc.Conversion
	stop chan struct{}
	once sync.Once

	mu      sync.Mutex
	ceiling int
}

func (j *fakeJobs) Open(c rtc.Conversion) rtc.Output {
	o := &fakeOutput{jobs: j, wish: c, stop: make(chan struct{})}
	j.mu.Lock()
	j.outputs = append(j.outputs, o)
	j.mu.Unlock()
	j.done.Go(o.pump)
	return o
}

func (o *fakeOutput) pump() {
	codec := o.wish.Format.Codec
	e := sfu.NewEncoding(sfu.EncodingConfig{
		Video: o.wish.Kind == conference.Video, Codec: codec, ClockRate: relayproto.ClockRate(codec), PayloadType: relayproto.PayloadType(codec),
		Upstream: o,
	})
	defer e.Close()
	o.wish.Feed(e)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-o.stop:
			return
		case <-ticker.C:
		}
		payload := []byte{0x78, 0}
		if o.wish.Kind == conference.Video {
			payload = bytes.Clone(interFrame)
			if i%20 == 0 {
				payload = bytes.Clone(keyFrame)
			}
		}
		payload[len(payload)-1] = o.jobs.mark
		packet := append([]byte{0x80, relayproto.PayloadType(codec), byte(i >> 8), byte(i), 0, 0, 0, 0, 0, 0, 0, 9}, payload...)
		binary.BigEndian.PutUint32(packet[4:], uint32(i)*900)
		if e.Ingest(packet, o.jobs.engine.Now(), nil) != nil {
			return
		}
	}
}

func (o *fakeOutput) RequestPackets([]uint16) {}
func (o *fakeOutput) RequestKeyFrame()        {}
func (o *fakeOutput) Target() int             { return 1234 }

func (o *fakeOutput) SetCeiling(kbps int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ceiling = kbps
}

func (o *fakeOutput) Close() {
	o.once.Do(func() {
		close(o.stop)
		o.jobs.mu.Lock()
		defer o.jobs.mu.Unlock()
		o.jobs.outputs = slices.DeleteFunc(o.jobs.outputs, func(other *fakeOutput) bool { return o == other })
	})
}

// making are the listeners of what is made, "-" for pictures, in order.
func (j *fakeJobs) making() (list []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.outputs {
		if o.wish.Kind == conference.Video {
			list = append(list, "-")
		} else {
			list = append(list, o.wish.Listener)
		}
	}
	slices.Sort(list)
	return list
}
