package store

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"portico/shared/jsonvalue"
)

const (
	saveDelay   = 5 * time.Second // after something new was read; what comes meanwhile goes with it
	fileRooms   = 8 << 20         // bytes of room documents in the file, of the rooms used last
	maxFile     = 64 << 20        // bytes of a file that is read
	fileVersion = 1
)

// save has the file written a while later; what is under way is enough for what comes meanwhile. The caller holds mu.
func (c *Cache) save() {
	if c.options.File == "" || c.options.sealer == nil {
		return
	}
	c.dirty = true
	if !c.saving {
		c.saving = c.start(c.saver)
	}
}

func (c *Cache) saver() {
	for {
		delay := time.NewTimer(saveDelay)
		select {
		case <-delay.C:
		case <-c.ctx.Done():
			delay.Stop()
		}
		c.mu.Lock()
		c.saving = c.dirty
		if !c.dirty {
			c.mu.Unlock()
			return
		}
		c.dirty = false
		held := c.held()
		c.mu.Unlock()
		if err := c.write(held); err != nil {
			c.log.Warn("what was read from the store cannot be kept on disk", "error", err)
		}
	}
}

func (c *Cache) write(h holding) error {
	f, err := os.CreateTemp(filepath.Dir(c.options.File), ".cache-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(c.options.sealer.seal(c.options.place, h.encode()))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), c.options.File)
	}
	return err
}

// load puts the file's things on the shelves, as of some time. A file that is missing, or of another store, is as good as empty.
func (c *Cache) load() {
	if c.options.File == "" || c.options.sealer == nil {
		return
	}
	h, err := c.readFile()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("what was read from the store before cannot be used", "file", c.options.File, "error", err)
		}
		return
	}
	for _, s := range h.services {
		c.services.put(s.ID, s, time.Time{})
		c.names.put(s.Name, s.ID, time.Time{})
	}
	for _, r := range h.rooms {
		c.rooms.put(r.ID, r, time.Time{})
	}
	for _, k := range h.keys {
		c.keys.put(k.name, k.value, time.Time{})
	}
	for _, v := range h.settings {
		c.settings.put(v.name, v.value, time.Time{})
	}
}

// knows tells whether there is anything on the shelves that an edge starts with.
func (c *Cache) knows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.settings.get(superSetting)
	return ok && !k.value.none
}

func (c *Cache) readFile() (h holding, err error) {
	info, err := os.Stat(c.options.File)
	if err != nil {
		return h, err
	}
	if info.Size() > maxFile {
		return h, errors.New("the file is too large")
	}
	sealed, err := os.ReadFile(c.options.File)
	if err != nil {
		return h, err
	}
	text, err := c.options.sealer.open(c.options.place, string(sealed))
	if err != nil {
		return h, err
	}
	return decodeHolding(text)
}

// A holding is what is on the shelves, the things used last at the end.
type holding struct {
	services []Service
	rooms    []Room
	keys     []named[[]byte]
	settings []named[setting]
}

type named[V any] struct {
	name  string
	value V
}

// held gathers what is on the shelves. The caller holds mu.
func (c *Cache) held() holding {
	var h holding
	for _, k := range inOrder(c.services) {
		h.services = append(h.services, k.value)
	}
	for _, k := range inOrder(c.rooms) {
		h.rooms = append(h.rooms, k.value)
	}
	for _, k := range inOrder(c.keys) {
		h.keys = append(h.keys, named[[]byte]{k.name, k.value})
	}
	for _, k := range inOrder(c.settings) {
		h.settings = append(h.settings, named[setting]{k.name, k.value})
	}
	return h
}

func inOrder[V any](s *shelf[V]) []*kept[V] {
	all := make([]*kept[V], 0, s.order.Len())
	for e := s.order.Back(); e != nil; e = e.Prev() {
		all = append(all, e.Value.(*kept[V]))
	}
	return all
}

// encode writes the holding as JSON. Documents are text within it, so that they are read under the same limits as in the database.
func (h holding) encode() []byte {
	var services, rooms, keys, settings []jsonvalue.Value
	for _, s := range h.services {
		services = append(services, jsonvalue.OfObject(
			jsonvalue.M("id", jsonvalue.Of(s.ID)), jsonvalue.M("name", jsonvalue.Of(s.Name)), jsonvalue.M("key", jsonvalue.Of(s.Key)),
			jsonvalue.M("sealed", jsonvalue.Of(s.Sealed)), jsonvalue.M("created", jsonvalue.OfInt(s.Created.UnixMilli())),
		))
	}
	bytes, first := 0, len(h.rooms)
	documents := make([]string, len(h.rooms))
	for first > 0 && bytes < fileRooms {
		first--
		documents[first] = h.rooms[first].Document.String()
		bytes += len(documents[first])
	}
	for i, r := range h.rooms[first:] {
		rooms = append(rooms, jsonvalue.OfObject(
			jsonvalue.M("id", jsonvalue.Of(r.ID)), jsonvalue.M("service", jsonvalue.Of(r.Service)),
			jsonvalue.M("revision", jsonvalue.OfInt(r.Revision)), jsonvalue.M("document", jsonvalue.Of(documents[first+i])),
		))
	}
	for _, k := range h.keys {
		keys = append(keys, jsonvalue.OfStrings([]string{k.name, base64.StdEncoding.EncodeToString(k.value)}))
	}
	for _, v := range h.settings {
		texts := []string{v.name, v.value.value}
		if v.value.none {
			texts = texts[:1]
		}
		settings = append(settings, jsonvalue.OfStrings(texts))
	}
	return jsonvalue.OfObject(
		jsonvalue.M("version", jsonvalue.OfInt(fileVersion)),
		jsonvalue.M("services", jsonvalue.OfArray(services...)), jsonvalue.M("rooms", jsonvalue.OfArray(rooms...)),
		jsonvalue.M("keys", jsonvalue.OfArray(keys...)), jsonvalue.M("settings", jsonvalue.OfArray(settings...)),
	).Append(nil)
}

var errHolding = errors.New("the file is damaged, or of another version")

func decodeHolding(text []byte) (holding, error) {
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Values: len(text) + 1})
	if version, _ := v.Get("version").Int(); err != nil || version != fileVersion {
		return holding{}, errHolding
	}
	var h holding
	for s := range elements(v.Get("services")) {
		created, _ := s.Get("created").Int()
		h.services = append(h.services, Service{
			ID: s.Get("id").Text(), Name: s.Get("name").Text(), Key: s.Get("key").Text(), Sealed: s.Get("sealed").Text(), Created: time.UnixMilli(created),
		})
	}
	for r := range elements(v.Get("rooms")) {
		document := []byte(r.Get("document").Text())
		parsed, err := jsonvalue.Parse(document, jsonvalue.Limits{Values: len(document) + 1})
		if err != nil {
			return holding{}, errHolding
		}
		revision, _ := r.Get("revision").Int()
		h.rooms = append(h.rooms, Room{ID: r.Get("id").Text(), Service: r.Get("service").Text(), Revision: revision, Document: parsed})
	}
	for k := range elements(v.Get("keys")) {
		value, err := base64.StdEncoding.DecodeString(k.Index(1).Text())
		if err != nil {
			return holding{}, errHolding
		}
		h.keys = append(h.keys, named[[]byte]{k.Index(0).Text(), value})
	}
	for s := range elements(v.Get("settings")) {
		h.settings = append(h.settings, named[setting]{s.Index(0).Text(), setting{value: s.Index(1).Text(), none: s.Len() == 1}})
	}
	return h, nil
}

func elements(v jsonvalue.Value) iter.Seq[jsonvalue.Value] {
	return func(yield func(jsonvalue.Value) bool) {
		for i := range v.Len() {
			if !yield(v.Index(i)) {
				return
			}
		}
	}
}
