// Package store keeps what outlives a node: services and their keys, room configurations, records of join tokens, the
// cluster's keys and a few settings.
//
// It stands at the far end of the management API (restapi writes it) and beside the portal's login (which consumes token
// records and reads rooms); no packet and no message of a running conference waits for it. There is one implementation over
// database/sql, on SQLite by default and on PostgreSQL for clusters; its queries keep to the SQL that both have in common. Tables:
//
//	services  id, name (unique), secret (sealed service key), created (Unix ms)
//	rooms     id, service, document (room document as JSON, SIP password sealed), revision (grows with every change)
//	tokens    id, service, created (Unix ms), record (JSON)
//	secrets   name, value (sealed); "store.check" shows whether a key file is the right one
//	settings  name, value
//	locks     name; a transaction that must be alone with others of its kind writes a row here
//
// "Sealed" is AES-256-GCM under a key that lies in a file beside the database, or, for PostgreSQL, in a file on every edge: a copy of
// the database alone gives nothing away.
//
// A Cache stands before a database that can be away (NewCache, OpenCached): it serves what was read before.
package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// What callers can act on. Every other error is the database's or the disk's.
var (
	ErrNotFound = errors.New("not in the store")
	ErrExists   = errors.New("already in the store")
	ErrExpired  = errors.New("token record has expired")
	ErrLimit    = errors.New("store limit reached")
	ErrAway     = errors.New("the store does not answer") // for now; the same call may work later
)

// CallLimit is how long a call to a database elsewhere may take before it fails with ErrAway. A database on this machine is waited for
// as long as the caller's ctx allows.
const CallLimit = 2 * time.Second

// TokenLife is how long a token can be used after its creation (portal protocol 4.5).
const TokenLife = 180 * time.Second

// Service is a tenant of the management API: it owns rooms and signs its requests with a key (management API 4).
type Service struct {
	ID      string // 24 hexadecimal digits
	Name    string // unique
	Key     string // usable; never shown in a response, and never logged
	Sealed  string // the key as it is stored, filled in by the store; may be shown
	Created time.Time
}

// Room is a room's configuration. Its document always has "_id", equal to ID.
type Room struct {
	ID       string // 24 hexadecimal digits
	Service  string // id of the service it belongs to
	Document jsonvalue.Value
	Revision int64 // filled in by the store: 0 for a new room, and one more with each change
}

// TokenRecord is what a join token admits to (portal protocol 4.4).
type TokenRecord struct {
	ID              string // 24 hexadecimal digits
	User            string
	Role            string
	Room            string
	Service         string
	Created         time.Time // kept in whole milliseconds
	Origin          conference.Origin
	Code            string // random decimal number: the scheduling task
	Host            string // of the portal the token names
	Secure          bool
	WebTransportURL string
	// Unstored says that the store was away when the token was made: a record that travels within its token is then the only one,
	// and that the token works once is up to the room's home alone. The store itself does not keep it.
	Unstored bool
}

// Store is everything that persists. All methods may be called from any goroutine, block for the database and no longer than
// ctx allows. Ids that are not well formed are ErrNotFound like unknown ones.
type Store interface {
	Service(ctx context.Context, id string) (Service, error)
	ServiceByName(ctx context.Context, name string) (Service, error)
	// Services lists all services by ascending id.
	Services(ctx context.Context) ([]Service, error)
	// CreateService adds a service with a new id, name and key; ErrExists when id or name is taken, ErrLimit when there are too many.
	CreateService(ctx context.Context, s Service) error
	// DeleteService removes the service but not its rooms.
	DeleteService(ctx context.Context, id string) error

	Room(ctx context.Context, id string) (Room, error)
	// Rooms lists a service's rooms by ascending id: all of them when perPage is 0, otherwise page 1, 2, … of that size;
	// page 0 is page 1.
	Rooms(ctx context.Context, service string, page, perPage int) ([]Room, error)
	// RoomsAfter lists at most limit rooms with ids greater than after, leaving out the first skip of them.
	RoomsAfter(ctx context.Context, service, after string, skip, limit int) ([]Room, error)
	// RoomIDs lists the ids of a service's rooms, ascending.
	RoomIDs(ctx context.Context, service string) ([]string, error)
	// CreateRoom adds a room; ErrExists when the id is taken, ErrLimit when the service has too many or the document is too large.
	CreateRoom(ctx context.Context, r Room) error
	// UpdateRoom replaces the document of the service's room by what change makes of it; change may be called again when
	// someone else changed the room meanwhile. Its error is returned as it is, and nothing changes.
	UpdateRoom(ctx context.Context, service, id string, change func(jsonvalue.Value) (jsonvalue.Value, error)) (Room, error)
	// DeleteRoom removes the service's room.
	DeleteRoom(ctx context.Context, service, id string) error

	// PutToken records a token; ErrLimit when the service has too many unused ones.
	PutToken(ctx context.Context, t TokenRecord) error
	// ConsumeToken finds and removes a record in one step: of several callers one gets it. Records older than TokenLife are
	// removed on the way; the one asked for is ErrExpired if it was among them.
	ConsumeToken(ctx context.Context, id string) (TokenRecord, error)

	// Key is the secret of that name, the same for every caller for ever; make supplies it the first time.
	Key(ctx context.Context, name string, make func() []byte) ([]byte, error)
	// Setting is a small fact that must survive, such as which service is the super service.
	Setting(ctx context.Context, name string) (string, error)
	SetSetting(ctx context.Context, name, value string) error

	// Close waits for running calls and releases the database; it may be called twice.
	Close() error
}

// Limits bound what the callers of the management API can make the store grow to. A zero field means its default.
type Limits struct {
	Services     int // default 1,000
	Rooms        int // per service; default 10,000
	Tokens       int // unused ones per service; default 50,000
	RoomDocument int // bytes; default 256 KiB
}

func (l Limits) withDefaults() Limits {
	for field, value := range map[*int]int{&l.Services: 1000, &l.Rooms: 10_000, &l.Tokens: 50_000, &l.RoomDocument: 256 << 10} {
		if *field == 0 {
			*field = value
		}
	}
	return l
}

// process is what tells the ids of this process from those of others, and count what tells them from each other.
var (
	process = randomBytes(5)
	count   atomic.Uint32
)

func init() {
	count.Store(binary.BigEndian.Uint32(randomBytes(4)) >> 9) // far from the end of 24 bits, so that ids ascend for long
}

// NewID makes an id of 24 hexadecimal digits: seconds since 1970, 5 bytes that are the process's own, and a counter. Ids made
// later are greater, which keeps lists in the order of creation; they can be guessed, and are no secrets.
func NewID() string {
	id := binary.BigEndian.AppendUint32(nil, uint32(time.Now().Unix()))
	id = append(id, process...)
	n := count.Add(1)
	return hex.EncodeToString(append(id, byte(n>>16), byte(n>>8), byte(n)))
}

// RandomID makes an id of 24 hexadecimal digits that nobody can guess.
func RandomID() string { return hex.EncodeToString(randomBytes(12)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// IsID tells whether the text is an id as the store makes them.
func IsID(text string) bool {
	if len(text) != 24 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
