package cri

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxLogLine is the length at which a line is written in parts, as other
// runtimes do.
const maxLogLine = 16 * 1024

// logFile writes a container's output in the format the kubelet reads:
// <time> <stream> <F|P> <text>, where P marks a part of a line.
type logFile struct {
	mutex sync.Mutex
	path  string
	file  *os.File
	now   func() time.Time
}

func openLog(path string, now func() time.Time) (*logFile, error) {
	l := &logFile{path: path, now: now}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the log directory: %w", err)
	}
	return l, l.reopen()
}

// reopen continues in a new file after the kubelet moved the old one away.
func (l *logFile) reopen() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("cannot open the container's log: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = file
	return nil
}

// copyFrom writes what a stream delivers until it ends.
func (l *logFile) copyFrom(stream string, source io.Reader) error {
	reader := bufio.NewReaderSize(source, maxLogLine)
	for {
		text, err := reader.ReadSlice('\n')
		if len(text) > 0 {
			if writeErr := l.write(stream, text); writeErr != nil {
				return writeErr
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func (l *logFile) write(stream string, text []byte) error {
	tag := "P"
	if text[len(text)-1] == '\n' {
		tag, text = "F", text[:len(text)-1]
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, err := fmt.Fprintf(l.file, "%s %s %s %s\n", l.now().UTC().Format(time.RFC3339Nano), stream, tag, text)
	return err
}

func (l *logFile) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.file.Close()
}
