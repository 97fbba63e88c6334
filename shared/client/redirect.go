package client

import (
	"context"
	"errors"
	"slices"

	"portico/shared/portalproto"
)

// An edge of a cluster that is full, or about to stop, names others in its refusal.

// maxRedirects is how many of them are tried.
const maxRedirects = 3

// enterer takes over a participation that a login on the edge at url has brought, on the loop.
type enterer func(w *wire, url string, result portalproto.LoginResult, r *room)

// enter logs in on an edge or, if that names others, on one of them. When none of them takes the client in, the first one's refusal
// counts, but one that another edge would repeat.
func (c *Conference) enter(ctx context.Context, url, token string, take enterer) error {
	first := c.enterAt(ctx, url, token, take)
	for _, other := range withRedirects(nil, url, first, maxRedirects) {
		err := c.enterAt(ctx, other, token, take)
		if err == nil || !errors.Is(err, ErrConnect) && !isElsewhere(err) {
			return err
		}
	}
	return first
}

func (c *Conference) enterAt(ctx context.Context, url, token string, take enterer) error {
	w, err := c.dial(ctx, url)
	if err != nil {
		return err
	}
	err = c.login(ctx, w, token, func(result portalproto.LoginResult, r *room) { take(w, url, result, r) })
	if err != nil {
		_ = w.socket.Close()
	}
	return err
}

// isElsewhere tells whether an edge has refused for itself alone.
func isElsewhere(err error) bool {
	var refused *ServerError
	return errors.As(err, &refused) && (len(refused.edges) > 0 || refused.Text == portalproto.ErrOverloaded.Text)
}

// withRedirects is the list with the edges behind it that a refusal names, as edgesOf allows, and no longer than most.
func withRedirects(list []string, url string, err error, most int) []string {
	var refused *ServerError
	if !errors.As(err, &refused) {
		return list
	}
	for _, e := range edgesOf(url, refused.edges) {
		if len(list) < most && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}
