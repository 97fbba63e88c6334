package client

import (
	"context"
	"errors"

	"portico/shared/sioclient"
	"portico/shared/wsconn"
)

// DialSocketIO is the Dialer of a client that names none: Socket.IO over one WebSocket.
func DialSocketIO(ctx context.Context, options DialOptions) (Socket, error) {
	return DialSocketIOBy(nil)(ctx, options)
}

// DialSocketIOBy is DialSocketIO over WebSockets that connect opens; nil opens them as usual.
func DialSocketIOBy(connect func(ctx context.Context, url string) (wsconn.Conn, error)) Dialer {
	return func(ctx context.Context, options DialOptions) (Socket, error) {
		conn, err := sioclient.Dial(ctx, sioclient.Options{
			URL: options.URL, OnEvent: options.OnEvent, Dialer: connect,
			OnClose: func(err error) {
				if errors.Is(err, sioclient.ErrDisconnected) {
					err = ErrDropped
				}
				options.OnClose(err)
			},
		})
		if err != nil {
			return nil, err
		}
		return socketIO{conn}, nil
	}
}

// socketIO is a sioclient.Conn as a Socket.
type socketIO struct{ *sioclient.Conn }

// Close waits until no event can come any more, which the Conn alone does not.
func (s socketIO) Close() error {
	err := s.Conn.Close()
	<-s.Conn.Done()
	return err
}
