//go:build unix

package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

func TestCrashNamesWhoseMediaWereDecoded(t *testing.T) {
	b := start(t, Options{})
	e, _ := b.edge("edge-1")
	file := pageFile()
	if file == nil {
		t.Skip("no nameless files on this system")
	}
	_ = file.Close()
	in := []relayproto.Suspect{{Input: "in", Kind: conference.Audio}}
	for _, c := range []struct {
		room   string
		signal syscall.Signal // 0: it dies by itself
		want   []relayproto.Suspect
	}{
		{"decodes", syscall.SIGSEGV, in},
		{"decodes", syscall.SIGABRT, in},
		{"decodes and panics", 0, in},
		{"decodes", syscall.SIGKILL, nil}, // nothing that a decoder does
		{"decoded", syscall.SIGSEGV, nil},
		{"R", syscall.SIGSEGV, nil},
		{"quits", 0, nil},
		{"garbage", syscall.SIGSEGV, nil},
		{"all", syscall.SIGSEGV, nil}, // more than can be decoded at a time
	} {
		o := order("a", c.room, 1)
		if c.room == "all" {
			for i := range b.w.parallel + 1 {
				track := *o.Inputs[0].Audio
				track.Flow = uint64(100 + i)
				o.Inputs = append(o.Inputs, relayproto.Input{ID: fmt.Sprint(i), Audio: &track})
			}
		}
		call := b.call(e, o)
		if c.signal != 0 {
			runs(t, call, 1)
			if err := syscall.Kill(b.process("a"), c.signal); err != nil {
				t.Fatal(err)
			}
		}
		m := next(t, call)
		for m.Report != nil {
			m = next(t, call)
		}
		if m.Refusal == nil || m.Refusal.Reason != relayproto.Crashed || !reflect.DeepEqual(m.Refusal.Suspects, c.want) {
			t.Errorf("%s, %v: %+v, want %+v", c.room, c.signal, m.Refusal, c.want)
		}
		over(t, call)
		b.drained("a")
	}
}

// A process only says what it refuses: whom it suspects itself is not believed.
func TestSuspectsOfTheProcessItselfAreNotBelieved(t *testing.T) {
	r := believed(&relayproto.Refusal{Reason: relayproto.Crashed, Suspects: []relayproto.Suspect{{Input: "in", Kind: conference.Audio}}})
	if len(r.Suspects) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestNotes(t *testing.T) {
	var n notes
	slots := make(map[int]bool)
	for range noteSlots {
		slots[n.Begin("in", conference.Audio)] = true
	}
	if len(slots) != noteSlots || slots[noSlot] {
		t.Errorf("%d slots", len(slots))
	}
	beyond := n.Begin("in", conference.Audio)
	n.End(beyond)
	if beyond != noSlot {
		t.Errorf("slot %d of one too many", beyond)
	}
	for slot := range slots {
		n.End(slot)
	}
	for i := range n {
		if n[i].Load() != 0 {
			t.Fatalf("slot %d is not free", i)
		}
	}
	id := strings.Repeat("i", 36)
	if allocs := testing.AllocsPerRun(100, func() { n.End(n.Begin(id, conference.Video)) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestMarks(t *testing.T) {
	seen := make(map[uint64]string)
	for _, kind := range []conference.Kind{conference.Audio, conference.Video, ""} {
		for _, input := range []string{"", "a", "b", "ab", "video", "audio", "deo"} {
			m, name := mark(input, kind), fmt.Sprintf("%s of %q", kind, input)
			if m == 0 || seen[m] != "" {
				t.Errorf("%s has the mark %x of %s", name, m, seen[m])
			}
			seen[m] = name
		}
	}
}

// FuzzSuspects has a process leave anything: only tracks of the job are named, and no more than can be.
func FuzzSuspects(f *testing.F) {
	known := tracksOf(order("a", "R", 1))
	known = append(known, relayproto.Suspect{Input: "other", Kind: conference.Video})
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, noteBytes))
	f.Add(binary.NativeEndian.AppendUint64(nil, mark("in", conference.Audio)))
	f.Add(bytes.Repeat(binary.NativeEndian.AppendUint64(nil, mark("other", conference.Video)), noteSlots))
	f.Fuzz(func(t *testing.T, page []byte) {
		whole := bytes.Clone(page)
		whole = append(whole, make([]byte, max(noteBytes-len(page), 0))...)
		for _, file := range []io.ReaderAt{bytes.NewReader(page), bytes.NewReader(whole)} {
			for i, s := range suspects(file, known, 1) {
				mine := binary.NativeEndian.AppendUint64(nil, mark(s.Input, s.Kind))
				if i > 0 || !bytes.Contains(whole, mine) {
					t.Errorf("%d: %+v", i, s)
				}
			}
		}
	})
}
