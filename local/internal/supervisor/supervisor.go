// Package supervisor keeps the processes of a cluster running.
package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"modelservice.dev/local/internal/process"
)

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 10 * time.Second
	// A process that ran this long was healthy: its next failure is a new one.
	steadyAfter = 30 * time.Second
	endPoll     = 20 * time.Millisecond
)

// Program is a process to run. One without Restart is left alone when it ends.
type Program struct {
	Name    string
	Path    string
	Args    []string
	Log     string
	Restart bool
	// OwnMounts gives it a mount namespace of its own.
	OwnMounts bool
}

// Condition is where a program is in its life.
type Condition string

// Conditions of a program.
const (
	Running    Condition = "running"
	Restarting Condition = "restarting"
	Stopped    Condition = "stopped"
)

// State is what is known of a program. PID counts in the cluster's namespace.
type State struct {
	Name      string    `json:"name"`
	Condition Condition `json:"condition"`
	PID       int       `json:"pid,omitempty"`
	Restarts  int       `json:"restarts"`
	Since     time.Time `json:"since"`
	LastExit  string    `json:"lastExit,omitempty"`
}

// Supervisor runs programs and writes their states to a file at every change.
type Supervisor struct {
	table     *process.Table
	stateFile string
	mutex     sync.Mutex
	states    []State
	running   map[string]*process.Process
	keepers   sync.WaitGroup
}

// New returns a supervisor without programs.
func New(table *process.Table, stateFile string) *Supervisor {
	return &Supervisor{table: table, stateFile: stateFile, running: map[string]*process.Process{}}
}

// Keep starts the program and, if it wants that, starts it again with growing
// pauses until the context ends. It returns at once.
func (s *Supervisor) Keep(ctx context.Context, program Program) {
	s.keepers.Go(func() { s.keep(ctx, program) })
}

func (s *Supervisor) keep(ctx context.Context, program Program) {
	pause := firstBackoff
	for restarts := 0; ; restarts++ {
		begin := time.Now()
		exit := s.runOnce(program, restarts)
		if ctx.Err() != nil {
			return
		}
		state := State{Name: program.Name, Condition: Stopped, Restarts: restarts, Since: time.Now(), LastExit: exit}
		if !program.Restart {
			log.Printf("%s ended: %s", program.Name, exit)
			s.record(state)
			return
		}
		if time.Since(begin) > steadyAfter {
			pause = firstBackoff
		}
		log.Printf("%s ended: %s; starting it again in %s", program.Name, exit, pause)
		state.Condition = Restarting
		s.record(state)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastBackoff)
	}
}

// runOnce runs the program to its end and says how it ended.
func (s *Supervisor) runOnce(program Program, restarts int) string {
	child, err := s.start(program)
	if err != nil {
		return err.Error()
	}
	s.mutex.Lock()
	s.running[program.Name] = child
	s.mutex.Unlock()
	s.record(State{Name: program.Name, Condition: Running, PID: child.PID, Restarts: restarts, Since: time.Now()})
	<-child.Done()
	s.mutex.Lock()
	delete(s.running, program.Name)
	s.mutex.Unlock()
	return process.Describe(child.Status())
}

func (s *Supervisor) start(program Program) (*process.Process, error) {
	output, err := os.OpenFile(program.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	input, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if program.OwnMounts {
		attributes.Cloneflags = syscall.CLONE_NEWNS
	}
	return s.table.Start(program.Path, append([]string{program.Name}, program.Args...), &os.ProcAttr{
		Files: []*os.File{input, output, output},
		Env:   os.Environ(),
		Sys:   attributes,
	})
}

// Stop asks a program to end and waits for it, at most until the context ends.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	s.mutex.Lock()
	child := s.running[name]
	s.mutex.Unlock()
	if child == nil {
		return nil
	}
	if err := s.table.Signal(child, syscall.SIGTERM); err != nil {
		return fmt.Errorf("cannot stop %s: %w", name, err)
	}
	select {
	case <-child.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not stop: %w", name, ctx.Err())
	}
}

// Remove kills a program that is not restarted and forgets it once it has ended.
func (s *Supervisor) Remove(ctx context.Context, name string) error {
	for {
		s.mutex.Lock()
		child := s.running[name]
		at, found := s.find(name)
		if found && s.states[at].Condition == Stopped {
			s.states = slices.Delete(s.states, at, at+1)
			err := writeStates(s.stateFile, s.states)
			s.mutex.Unlock()
			return err
		}
		s.mutex.Unlock()
		if child != nil {
			if err := s.table.Signal(child, syscall.SIGKILL); err != nil {
				return fmt.Errorf("cannot kill %s: %w", name, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not end: %w", name, ctx.Err())
		case <-time.After(endPoll):
		}
	}
}

// State returns what is known of a program that was started.
func (s *Supervisor) State(name string) (State, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	at, found := s.find(name)
	if !found {
		return State{}, false
	}
	return s.states[at], true
}

func (s *Supervisor) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.states, name, func(known State, name string) int {
		return strings.Compare(known.Name, name)
	})
}

func (s *Supervisor) record(state State) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	at, found := s.find(state.Name)
	if found {
		s.states[at] = state
	} else {
		s.states = slices.Insert(s.states, at, state)
	}
	if err := writeStates(s.stateFile, s.states); err != nil {
		log.Printf("cannot record the state of %s: %v", state.Name, err)
	}
}

func writeStates(path string, states []State) error {
	data, err := json.MarshalIndent(states, "", "  ")
	if err != nil {
		return err
	}
	draft := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(draft, data, 0o644); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

// ReadStates reads the file that a supervisor writes, in the order of names.
func ReadStates(path string) ([]State, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var states []State
	if err := json.Unmarshal(data, &states); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return states, nil
}
