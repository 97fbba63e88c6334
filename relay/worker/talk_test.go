package worker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/relayproto"
)

func TestTalkBecomesLog(t *testing.T) {
	var out bytes.Buffer
	talk := newTalk(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("job", "a"))
	for _, part := range []string{
		`{"time":"x","level":"DEBUG","msg":"hel`, `lo","n":1,"b":"x"}` + "\n" + `{"level":"odd"}` + "\n",
		"[libvpx] plain\n", strings.Repeat("{", longLine+5) + "\n", "no end",
	} {
		if n, err := talk.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "level=DEBUG msg=hello job=a b=x n=1") || !strings.Contains(lines[1], `level=WARN msg="" job=a`) {
		t.Errorf("%q", lines)
	}
	if w := talk.words(); len(w) > wordsLimit || !strings.HasSuffix(w, "{{{\n") {
		t.Errorf("%d bytes: …%q", len(w), w[max(0, len(w)-20):])
	}
}

func TestLastWordsBeginWithTheCause(t *testing.T) {
	talk := newTalk(slog.New(slog.DiscardHandler))
	fmt.Fprintln(talk, "something before")
	fmt.Fprintln(talk, "panic: oh")
	for i := range 2000 {
		fmt.Fprintln(talk, "stack", i)
	}
	if w := talk.words(); len(w) != wordsLimit || !strings.HasPrefix(w, "panic: oh\nstack 0\n") {
		t.Errorf("%d bytes: %.40q", len(w), w)
	}
}

func TestTalkIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		talk := newTalk(slog.New(slog.NewTextHandler(&out, nil)))
		flood := func(n int) int {
			out.Reset()
			for range n {
				fmt.Fprintln(talk, `{"level":"WARN","msg":"flood"}`)
			}
			return strings.Count(out.String(), "\n")
		}
		if n := flood(1000); n != talkBurst {
			t.Errorf("%d lines at once", n)
		}
		time.Sleep(2 * time.Second) // the bubble's clock
		if n := flood(1000); n != 2*talkRate || !strings.Contains(out.String(), "dropped_before=900") {
			t.Errorf("%d lines after two seconds: %s", n, &out)
		}
	})
}

func FuzzTalk(f *testing.F) {
	f.Add([]byte("{\"level\":\"INFO\",\"msg\":\"x\",\"a\":[1]}\nplain\npanic: x\n"))
	f.Add([]byte("{\"level\":3,\"msg\":{}}\n{}\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		talk := newTalk(slog.New(slog.DiscardHandler))
		for len(text) > 0 {
			n := min(len(text), 7)
			_, _ = talk.Write(text[:n])
			text = text[n:]
		}
		if len(talk.words()) > wordsLimit || len(talk.line) > longLine {
			t.Fatal("keeps more than it may")
		}
	})
}

// TestRefusalsOfProcesses are passed on as far as they make sense.
func TestRefusalsOfProcesses(t *testing.T) {
	long := strings.Repeat("x", relayproto.MaxMessage/2)
	if r := believed(&relayproto.Refusal{Reason: relayproto.Unable, Detail: long}); r.Reason != relayproto.Unable || len(r.Detail) != longDetail {
		t.Errorf("%s, %d bytes of detail", r.Reason, len(r.Detail))
	}
	if r := believed(&relayproto.Refusal{Reason: relayproto.Reason(long), Detail: long}); r.Reason != relayproto.Crashed || len(r.Detail) > longDetail {
		t.Errorf("%.20s, %d bytes of detail", r.Reason, len(r.Detail))
	}
}
