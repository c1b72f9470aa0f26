package forward

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

const patience = 10 * time.Second

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// serve forwards to target and returns where to connect and how to stop.
func serve(t *testing.T, target string) (address string, stop func() error) {
	t.Helper()
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, target) }()
	return listener.Addr().String(), func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("the forwarder did not end")
			return nil
		}
	}
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func TestAnAnswerArrivesAfterTheClientEndedItsSide(t *testing.T) {
	target := listen(t)
	go func() {
		conn, err := target.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request, _ := io.ReadAll(conn)
		io.WriteString(conn, "got "+string(request))
	}()
	address, stop := serve(t, target.Addr().String())
	client := dial(t, address)
	if _, err := io.WriteString(client, "question"); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "got question" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAConnectionIsClosedWhenTheTargetIsDown(t *testing.T) {
	gone := listen(t)
	target := gone.Addr().String()
	gone.Close()
	address, stop := serve(t, target)
	for range 2 {
		if data, _ := io.ReadAll(dial(t, address)); len(data) != 0 {
			t.Errorf("read %q", data)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTheEndOfTheContextClosesOpenConnections(t *testing.T) {
	target := listen(t)
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := target.Accept(); err == nil {
			accepted <- conn
		}
	}()
	address, stop := serve(t, target.Addr().String())
	client := dial(t, address)
	server := <-accepted
	defer server.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client's connection is still open")
	}
}
