package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"portico/edge/console"
	"portico/edge/restapi"
	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

// roomConfig reads a room's configuration for the rooms.
func (n *Node) roomConfig(ctx context.Context, id string) (conference.Room, error) {
	r, err := n.store.Room(ctx, id)
	if err != nil {
		return conference.Room{}, err
	}
	return conference.ReadRoom(r.Document), nil
}

// conferences are the running rooms as the management API needs them.
type conferences struct{ n *Node }

// DestroyRoom ends a room beside the request that asked for it.
func (c conferences) DestroyRoom(room string) {
	_ = c.n.tasks.Go(func(context.Context) { c.n.rooms.Destroy(room) })
}

func (c conferences) Participants(ctx context.Context, id string) ([]conference.Participant, error) {
	return c.n.rooms.Participants(ctx, id)
}

func (c conferences) Streams(ctx context.Context, id string) ([]conference.Stream, error) {
	return c.n.rooms.Streams(ctx, id)
}

func (c conferences) ChangePermission(
	ctx context.Context, id, participant string, p room.PermissionChange,
) (conference.Participant, error) {
	return c.n.rooms.ChangePermission(ctx, id, participant, p)
}

func (c conferences) DropParticipant(ctx context.Context, id, participant string) error {
	return c.n.rooms.DropParticipant(ctx, id, participant)
}

func (c conferences) ChangeStream(ctx context.Context, id, stream string, changes []room.StreamChange) (conference.Stream, error) {
	return c.n.rooms.ChangeStream(ctx, id, stream, changes)
}

func (c conferences) DeleteStream(ctx context.Context, id, stream string) error {
	return c.n.rooms.DeleteStream(ctx, id, stream)
}

// URL is the address of the pages.
func (n *Node) URL() string {
	if n.secure {
		return "https://" + n.host
	}
	return "http://" + n.host
}

// portalAddress is this edge's own.
func (n *Node) portalAddress() restapi.PortalAddress {
	return restapi.PortalAddress{Host: n.host, Secure: n.secure, WebTransportURL: n.dataURL()}
}

// iceServers are the relays, with credentials that end and are the participant's own: relays count what each name uses.
func (n *Node) iceServers(participant string) []portalproto.ICEServer {
	urls := n.cfg.TURN.URLs
	if n.members != nil {
		for _, url := range n.members.turnURLs(n.cfg.Cluster.Region) {
			if !slices.Contains(n.cfg.TURN.URLs, url) {
				urls = append(slices.Clip(urls), url)
			}
		}
	}
	if len(urls) == 0 {
		return nil
	}
	name, password := token.TURNCredential(turnSecret(n.cfg.TURN.Secret, n.members), participant, time.Now().Add(n.cfg.TURN.Lifetime))
	return []portalproto.ICEServer{{URLs: urls, Username: name, Credential: password}}
}

// demoTokens makes the tokens of the demo page, for any room and name: of an edge that is tried out only. Rooms are found by
// name among those of the service, and made when there is none.
func demoTokens(
	s store.Store, service string, keys func() token.Keys, portal func() restapi.PortalAddress,
) func(context.Context, console.TokenRequest) (string, error) {
	var mu sync.Mutex // one at a time: two visitors of a new room must not make two
	return func(ctx context.Context, r console.TokenRequest) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		room, err := roomNamed(ctx, s, service, r.Room)
		if err != nil {
			return "", err
		}
		config := conference.ReadRoom(room.Document)
		if _, ok := config.RoleNamed(r.Role); !ok {
			return "", &console.RefusedError{Reason: "This room has no role “" + r.Role + "”."}
		}
		return restapi.IssueToken(ctx, s, keys(), false, portal(), store.TokenRecord{
			User: r.User, Role: r.Role, Room: room.ID, Service: service, Origin: conference.Origin{ISP: "isp", Region: "region"},
		})
	}
}

func roomNamed(ctx context.Context, s store.Store, service, name string) (store.Room, error) {
	rooms, err := s.Rooms(ctx, service, 1, 0)
	if err != nil {
		return store.Room{}, err
	}
	for _, r := range rooms {
		if r.Document.Get("name").Text() == name {
			return r, nil
		}
	}
	// OWT's default is not to adapt; people who try the demo want what is best.
	document, err := conference.NewRoomDocument(name, jsonvalue.OfObject(jsonvalue.M("enableBandwidthAdaptation", jsonvalue.OfBool(true))))
	if err != nil {
		return store.Room{}, err
	}
	r := store.Room{ID: store.NewID(), Service: service}
	r.Document = document.With("_id", jsonvalue.Of(r.ID))
	err = s.CreateRoom(ctx, r)
	if errors.Is(err, store.ErrLimit) {
		return r, &console.RefusedError{Reason: "There are too many rooms. Use one that exists."}
	}
	return r, err
}
