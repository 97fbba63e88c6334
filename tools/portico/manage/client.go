// Package manage talks to the management API of a running edge, and implements the commands `portico room` and
// `portico token` on top of it.
//
// Requests are signed with MAuth (management API 2): the service key itself never leaves this machine.
package manage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// Settings say which edge to ask and as which service.
type Settings struct {
	URL     string // http(s)://host:port of an edge
	Service string // service id, 24 hexadecimal digits
	Key     string // the service's key
}

// Environment reads settings from PORTICO_URL, PORTICO_SERVICE and PORTICO_KEY; getenv is os.Getenv.
func Environment(getenv func(string) string) Settings {
	s := Settings{URL: getenv("PORTICO_URL"), Service: getenv("PORTICO_SERVICE"), Key: getenv("PORTICO_KEY")}
	if s.URL == "" {
		s.URL = "http://127.0.0.1:8080"
	}
	return s
}

// Error is a refusal by the API.
type Error struct {
	Status  int    // of HTTP
	Code    int    // management API 3; 0 when the answer did not come from a management API
	Message string // the server's text
}

func (e *Error) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "the edge does not accept this service id and key"
	case e.Code == 0:
		return fmt.Sprintf("the answer (HTTP status %d) does not come from a management API: check the address", e.Status)
	}
	return e.Message
}

// Client makes calls as one service. Its methods may be called from any goroutine.
type Client struct {
	base     string
	settings Settings
	http     *http.Client
}

const (
	callTimeout = 30 * time.Second
	maxAnswer   = 64 << 20 // bytes
	pageSize    = 100
)

// New makes a client; the error says which setting is missing or wrong. Nothing is sent yet.
func New(s Settings) (*Client, error) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is not the address of an edge: give one like http://127.0.0.1:8080 with -url or PORTICO_URL", s.URL)
	case s.Service == "":
		return nil, errors.New("no service named: give its id with -service or PORTICO_SERVICE; on the machine of an edge, `portico keys` shows both id and key")
	case s.Key == "":
		return nil, errors.New("no service key: put it into PORTICO_KEY or into a file named by -key-file")
	case strings.ContainsAny(s.Service, ",= \r\n"):
		return nil, fmt.Errorf("%q is not a service id: it has 24 digits and letters a to f", s.Service)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // a command makes few calls and leaves nothing behind
	return &Client{
		base:     strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"),
		settings: s,
		http:     &http.Client{Transport: transport, Timeout: callTimeout},
	}, nil
}

// CreateRoom creates a room; options are the members of rooms-and-media 1.1, or absent for the defaults.
func (c *Client) CreateRoom(ctx context.Context, name string, options jsonvalue.Value) (jsonvalue.Value, error) {
	return c.json(ctx, http.MethodPost, "/v1/rooms", jsonvalue.OfObject(jsonvalue.M("name", jsonvalue.Of(name)), jsonvalue.M("options", options)))
}

// Rooms lists all rooms of the service, oldest first.
func (c *Client) Rooms(ctx context.Context) ([]jsonvalue.Value, error) {
	var rooms []jsonvalue.Value
	for page := 1; ; page++ {
		list, err := c.json(ctx, http.MethodGet, "/v1/rooms?page="+strconv.Itoa(page)+"&per_page="+strconv.Itoa(pageSize), jsonvalue.Value{})
		if err != nil {
			return nil, err
		}
		for i := range list.Len() {
			rooms = append(rooms, list.Index(i))
		}
		if list.Len() < pageSize {
			return rooms, nil
		}
	}
}

// Room is the configuration of a room.
func (c *Client) Room(ctx context.Context, id string) (jsonvalue.Value, error) {
	return c.json(ctx, http.MethodGet, "/v1/rooms/"+url.PathEscape(id), jsonvalue.Value{})
}

// UpdateRoom replaces members of a room's configuration, each as a whole.
func (c *Client) UpdateRoom(ctx context.Context, id string, changes jsonvalue.Value) (jsonvalue.Value, error) {
	return c.json(ctx, http.MethodPut, "/v1/rooms/"+url.PathEscape(id), changes)
}

// DeleteRoom deletes a room and ends what goes on in it.
func (c *Client) DeleteRoom(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/rooms/"+url.PathEscape(id), jsonvalue.Value{})
	return err
}

// Place is where a client is, for the choice of servers; empty parts are left to the edge.
type Place struct{ ISP, Region string }

// CreateToken makes a token that admits the user to the room once, within three minutes.
func (c *Client) CreateToken(ctx context.Context, room, user, role string, at Place) (string, error) {
	var preference jsonvalue.Value
	if at != (Place{}) {
		preference = jsonvalue.OfObject(jsonvalue.M("isp", jsonvalue.Of(at.ISP)), jsonvalue.M("region", jsonvalue.Of(at.Region)))
	}
	text, err := c.do(ctx, http.MethodPost, "/v1/rooms/"+url.PathEscape(room)+"/tokens", jsonvalue.OfObject(
		jsonvalue.M("user", jsonvalue.Of(user)), jsonvalue.M("role", jsonvalue.Of(role)), jsonvalue.M("preference", preference),
	))
	return string(text), err
}

// Cluster is how the cluster is, as JSON. Only the super service may ask.
func (c *Client) Cluster(ctx context.Context) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/v1/cluster", jsonvalue.Value{})
}

// Find is the id of a room given by id or by name; a name that several rooms have is an error that lists their ids.
func (c *Client) Find(ctx context.Context, room string) (string, error) {
	if _, err := hex.DecodeString(room); err == nil && len(room) == 24 {
		return room, nil
	}
	rooms, err := c.Rooms(ctx)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range rooms {
		if r.Get("name").Text() == room {
			ids = append(ids, r.Get("_id").Text())
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("there is no room %q: `portico room list` shows which there are", room)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("several rooms are called %q, give one of their ids: %s", room, strings.Join(ids, ", "))
}

func (c *Client) json(ctx context.Context, method, path string, body jsonvalue.Value) (jsonvalue.Value, error) {
	text, err := c.do(ctx, method, path, body)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Values: len(text) + 1})
	if err != nil {
		return jsonvalue.Value{}, &Error{Status: http.StatusOK}
	}
	return v, nil
}

// do makes one call and returns the body of its success.
func (c *Client) do(ctx context.Context, method, path string, body jsonvalue.Value) ([]byte, error) {
	var content io.Reader
	if body.Exists() {
		content = bytes.NewReader(body.Append(nil))
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", c.authorization())
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, c.explain(err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer of %s is larger than %d MiB", c.base, maxAnswer>>20)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, failure(answer.StatusCode, text)
	}
	return text, nil
}

func (c *Client) authorization() string {
	nonce := make([]byte, 8)
	rand.Read(nonce) // never fails
	return token.MAuth{
		ServiceID: c.settings.Service,
		Nonce:     hex.EncodeToString(nonce),
		Timestamp: strconv.FormatInt(time.Now().UnixMilli(), 10),
	}.Sign(c.settings.Key).Header()
}

// explain says what a failed connection means for whoever typed the command.
func (c *Client) explain(err error) error {
	if refused := (*net.OpError)(nil); errors.As(err, &refused) && refused.Op == "dial" {
		return fmt.Errorf("no edge answers at %s: start one, or give its address with -url (%w)", c.base, refused.Err)
	}
	return fmt.Errorf("no answer from %s: %w", c.base, err)
}

func failure(status int, text []byte) error {
	v, _ := jsonvalue.Parse(text, jsonvalue.Limits{}) // not JSON: code 0
	code, _ := v.Path("error", "code").Int()
	return &Error{Status: status, Code: int(code), Message: v.Path("error", "message").Text()}
}
