// Package forward carries TCP connections from a listener to one address.
package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	acceptPause = 50 * time.Millisecond
)

// Serve accepts connections until the context ends and joins each to a new
// connection to target. A connection whose target cannot be reached is closed.
func Serve(ctx context.Context, listener net.Listener, target string) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// Out of file descriptors, most likely: connections that end free some.
			time.Sleep(acceptPause)
			continue
		}
		go join(ctx, conn, target)
	}
}

func join(ctx context.Context, client net.Conn, target string) {
	defer client.Close()
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var directions sync.WaitGroup
	directions.Go(func() { pump(server, client) })
	directions.Go(func() { pump(client, server) })
	directions.Wait()
}

// pump copies until the source ends and then closes the target for writing, so
// that the other direction may still finish.
func pump(target, source net.Conn) {
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		source.Close()
		return
	}
	if half, ok := target.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
