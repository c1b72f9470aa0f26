package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"modelservice.dev/local/internal/layout"
)

// state is what up leaves for the commands that come after it.
type state struct {
	PID     int       `json:"pid"`
	Port    int       `json:"port"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
}

func (s state) url() string {
	return fmt.Sprintf("https://127.0.0.1:%d", s.Port)
}

func writeState(dir layout.Dir, current state) error {
	data, err := json.Marshal(current)
	if err != nil {
		return err
	}
	return os.WriteFile(dir.Run("state.json"), data, 0o644)
}

func readState(dir layout.Dir) (state, error) {
	var current state
	data, err := os.ReadFile(dir.Run("state.json"))
	if err != nil {
		return current, err
	}
	return current, json.Unmarshal(data, &current)
}

// errRunning says that a cluster holds the lock of the directory.
var errRunning = errors.New("the cluster is running")

// acquireLock takes the lock that the first process holds while the cluster
// runs. The kernel frees it with the last copy of the file.
func acquireLock(dir layout.Dir) (*os.File, error) {
	file, err := os.OpenFile(dir.Run("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errRunning
	}
	return nil, fmt.Errorf("cannot lock %s: %w", dir.Run("lock"), err)
}

// claim takes the lock, or returns errRunning and what is known of the cluster
// that holds it.
func claim(dir layout.Dir) (*os.File, state, error) {
	for {
		lock, err := acquireLock(dir)
		if !errors.Is(err, errRunning) {
			return lock, state{}, err
		}
		current, up, err := running(dir)
		if err != nil {
			return nil, state{}, err
		}
		if up {
			return nil, current, errRunning
		}
		// It was only another command that had a look.
	}
}

// running says whether a cluster runs in the directory, and what is known of it.
func running(dir layout.Dir) (state, bool, error) {
	lock, err := acquireLock(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return state{}, false, nil
	case errors.Is(err, errRunning):
		current, err := readState(dir)
		if err != nil {
			return state{}, true, fmt.Errorf("a cluster is starting in %s: try again in a moment", dir)
		}
		return current, true, nil
	case err != nil:
		return state{}, false, err
	}
	return state{}, false, lock.Close()
}
