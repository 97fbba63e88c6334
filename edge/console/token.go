package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxTokenRequest = 4 << 10 // bytes
	maxName         = 100     // characters
)

// tokens answers POST /demo/token: {"room","user","role"} gives {"token"}; errors are {"error": text for the visitor}.
type tokens struct {
	make func(context.Context, TokenRequest) (string, error)
	log  *slog.Logger
}

func (t tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		answer(w, http.StatusMethodNotAllowed, "error", "A token is asked for with POST.")
		return
	}
	if !ownPage(r) {
		answer(w, http.StatusForbidden, "error", "Only the demo page gets tokens.")
		return
	}
	request, problem := readRequest(r.Body)
	if problem != "" {
		answer(w, http.StatusBadRequest, "error", problem)
		return
	}
	token, err := t.make(r.Context(), request)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		answer(w, http.StatusForbidden, "error", refused.Reason)
	case err != nil:
		t.log.Error("demo token not made", "room", request.Room, "err", err)
		answer(w, http.StatusInternalServerError, "error", "The server could not make a token; its log says why.")
	default:
		answer(w, http.StatusOK, "token", token)
	}
}

// ownPage keeps other sites from getting tokens through a visitor's browser: the type makes browsers ask before they send such a
// request to another origin, which is never allowed, and the origin has to be ours.
func ownPage(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// readRequest reads and checks a request; problem is for the visitor.
func readRequest(body io.Reader) (request TokenRequest, problem string) {
	text, err := io.ReadAll(io.LimitReader(body, maxTokenRequest+1))
	if err != nil || len(text) > maxTokenRequest || json.Unmarshal(text, &request) != nil {
		return TokenRequest{}, "The request is not {\"room\", \"user\", \"role\"}."
	}
	request.Room, request.User = strings.TrimSpace(request.Room), strings.TrimSpace(request.User)
	if request.Role == "" {
		request.Role = "presenter"
	}
	switch {
	case !isName(request.Room):
		return TokenRequest{}, "The room needs a name of 1 to 100 characters."
	case !isName(request.User):
		return TokenRequest{}, "You need a name of 1 to 100 characters."
	case !isName(request.Role):
		return TokenRequest{}, "There is no such role."
	}
	return request, ""
}

// isName takes what can be shown on one line.
func isName(s string) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }
	return s != "" && utf8.RuneCountInString(s) <= maxName && !strings.ContainsFunc(s, control)
}

func answer(w http.ResponseWriter, status int, name, value string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{name: value}) // the client went away: nothing to do about it
}
