package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const streamHeaderTimeout = 10 * time.Second

// startStreams serves exec and port-forward to the kubelet on a loopback address.
func (r *Runtime) startStreams() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot serve exec and port-forward: %w", err)
	}
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	streams, err := streaming.NewServer(config, streamRuntime{r})
	if err != nil {
		return errors.Join(fmt.Errorf("cannot serve exec and port-forward: %w", err), listener.Close())
	}
	r.streams = streams
	r.streamServer = &http.Server{Handler: streams, ReadHeaderTimeout: streamHeaderTimeout}
	go r.streamServer.Serve(listener)
	return nil
}

// Exec returns the address at which a command can be executed.
func (r *Runtime) Exec(_ context.Context, request *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if _, err := r.container(request.GetContainerId()); err != nil {
		return nil, err
	}
	return r.streams.GetExec(request)
}

// Attach is refused: a container's output goes to its log and it has no input.
func (r *Runtime) Attach(context.Context, *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return nil, status.Error(codes.Unimplemented, "attach is not supported by localcluster: use kubectl logs -f, or kubectl exec -it")
}

// PortForward returns the address at which ports of a pod can be reached.
func (r *Runtime) PortForward(_ context.Context, request *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	if _, err := r.sandbox(request.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return r.streams.GetPortForward(request)
}

// streamRuntime carries the streams of exec and port-forward.
type streamRuntime struct {
	runtime *Runtime
}

func (s streamRuntime) Exec(ctx context.Context, id string, args []string, stdin io.Reader, stdout, stderr io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize) error {
	c, err := s.runtime.container(id)
	if err != nil {
		return err
	}
	if tty {
		return c.executeOnTerminal(ctx, args, stdin, stdout, sizes)
	}
	// A nil WriteCloser must become a nil Writer.
	var out, errs io.Writer
	if stdout != nil {
		out = stdout
	}
	if stderr != nil {
		errs = stderr
	}
	return c.execute(ctx, args, stdin, out, errs)
}

func (s streamRuntime) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New("attach is not supported")
}

func (s streamRuntime) PortForward(_ context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	sandbox, err := s.runtime.sandbox(id)
	if err != nil {
		return err
	}
	connection, err := sandbox.dial(port)
	if err != nil {
		return fmt.Errorf("cannot reach port %d of the pod: %w", port, err)
	}
	defer connection.Close()
	go func() {
		io.Copy(connection, stream)
		connection.CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}

// dial connects to a port of the pod on its loopback device.
func (s *sandbox) dial(port int32) (*net.TCPConn, error) {
	var connection net.Conn
	err := s.thread.do(func() (err error) {
		for _, host := range []string{"127.0.0.1", "::1"} {
			if connection, err = net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port)))); err == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return connection.(*net.TCPConn), nil
}
