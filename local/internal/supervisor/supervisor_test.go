package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modelservice.dev/local/internal/process"
)

const patience = 20 * time.Second

// table is shared: two reapers in one process would steal from each other.
var table = process.NewTable()

type fixture struct {
	*Supervisor
	ctx       context.Context
	cancel    context.CancelFunc
	stateFile string
	log       string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	dir := t.TempDir()
	f := fixture{stateFile: filepath.Join(dir, "states.json"), log: filepath.Join(dir, "log")}
	f.Supervisor = New(table, f.stateFile)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() {
		f.cancel()
		f.keepers.Wait()
	})
	return f
}

func (f fixture) shell(name, script string, restart bool) Program {
	return Program{Name: name, Path: "/bin/sh", Args: []string{"-c", script}, Log: f.log, Restart: restart}
}

func (f fixture) await(t *testing.T, name string, condition func(State) bool) State {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if state, ok := f.State(name); ok && condition(state) {
			return state
		}
	}
	state, _ := f.State(name)
	t.Fatalf("the state stays %+v", state)
	return State{}
}

func TestAProgramThatEndsIsStartedAgain(t *testing.T) {
	f := newFixture(t)
	f.Keep(f.ctx, f.shell("app", "echo started; exit 7", true))
	state := f.await(t, "app", func(s State) bool { return s.Restarts >= 1 && s.Condition == Restarting })
	if state.LastExit != "exit status 7" {
		t.Errorf("the last exit is %q", state.LastExit)
	}
	data, err := os.ReadFile(f.log)
	if err != nil || strings.Count(string(data), "started") < 2 {
		t.Errorf("the log holds %q, %v", data, err)
	}
}

func TestPausesBetweenRestartsGrow(t *testing.T) {
	f := newFixture(t)
	begin := time.Now()
	f.Keep(f.ctx, f.shell("app", "exit 1", true))
	f.await(t, "app", func(s State) bool { return s.Restarts >= 2 })
	if elapsed := time.Since(begin); elapsed < 3*firstBackoff {
		t.Errorf("two restarts took %s, less than one pause and one of twice its length", elapsed)
	}
}

func TestAProgramWithoutRestartStaysStopped(t *testing.T) {
	f := newFixture(t)
	f.Keep(f.ctx, f.shell("node", "kill -9 $$", false))
	state := f.await(t, "node", func(s State) bool { return s.Condition == Stopped })
	if state.LastExit != "killed by signal 9 (killed)" || state.Restarts != 0 {
		t.Errorf("the state is %+v", state)
	}
}

func TestAProgramThatCannotStartSaysWhy(t *testing.T) {
	f := newFixture(t)
	f.Keep(f.ctx, Program{Name: "app", Path: "/does/not/exist", Log: f.log})
	state := f.await(t, "app", func(s State) bool { return s.Condition == Stopped })
	if !strings.Contains(state.LastExit, "no such file") {
		t.Errorf("the last exit is %q", state.LastExit)
	}
}

func TestStopWaitsForTheEndAndNothingStartsAgain(t *testing.T) {
	f := newFixture(t)
	marker := f.log + ".ended"
	f.Keep(f.ctx, f.shell("app", "trap 'echo > "+marker+"; exit 0' TERM; echo ready; while :; do sleep 0.01; done", true))
	f.await(t, "app", func(s State) bool {
		data, _ := os.ReadFile(f.log)
		return s.Condition == Running && strings.Contains(string(data), "ready")
	})
	f.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Stop(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("it did not end in peace: %v", err)
	}
	if state, _ := f.State("app"); state.Restarts != 0 {
		t.Errorf("the state is %+v", state)
	}
	if err := f.Stop(ctx, "app"); err != nil {
		t.Errorf("the second stop: %v", err)
	}
}

func TestTheStateFileListsProgramsByName(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"c", "a", "b"} {
		f.Keep(f.ctx, f.shell(name, "exit 0", false))
		f.await(t, name, func(s State) bool { return s.Condition == Stopped })
	}
	states, err := ReadStates(f.stateFile)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, state := range states {
		names = append(names, state.Name)
	}
	if strings.Join(names, "") != "abc" {
		t.Errorf("the names are %v", names)
	}
}

func TestARemovedProgramIsKilledAndForgotten(t *testing.T) {
	f := newFixture(t)
	f.Keep(f.ctx, f.shell("stubborn", "trap '' TERM; while :; do sleep 0.1; done", false))
	if err := f.Remove(t.Context(), "stubborn"); err != nil {
		t.Fatal(err)
	}
	if state, known := f.State("stubborn"); known {
		t.Errorf("it is still known: %+v", state)
	}
	if states, err := ReadStates(f.stateFile); err != nil || len(states) > 0 {
		t.Errorf("the file holds %v, %v", states, err)
	}
	f.Keep(f.ctx, f.shell("dead", "exit 0", false))
	f.await(t, "dead", func(s State) bool { return s.Condition == Stopped })
	if err := f.Remove(t.Context(), "dead"); err != nil {
		t.Error(err)
	}
}

func TestRemovalOfAnUnknownProgramEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Remove(ctx, "nothing"); err == nil || !strings.Contains(err.Error(), "nothing did not end") {
		t.Errorf("the error is %v", err)
	}
}
