package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/supervisor"
)

func status(dir layout.Dir, output io.Writer) error {
	current, up, err := running(dir)
	if err != nil {
		return err
	}
	if !up {
		return fmt.Errorf("localcluster is not running in %s", dir)
	}
	printState(output, current, "")
	fmt.Fprintf(output, "kubeconfig %s, first process %d\n\n", dir.Kubeconfig(), current.PID)
	states, err := supervisor.ReadStates(dir.Run("components.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	outside := outsidePIDs(current.PID)
	table := tabwriter.NewWriter(output, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tPID\tRESTARTS\tSINCE\tLAST EXIT")
	for _, entry := range states {
		pid := "-"
		if number, ok := outside[entry.PID]; ok && entry.Condition == supervisor.Running {
			pid = strconv.Itoa(number)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", entry.Name, entry.Condition, pid, entry.Restarts,
			entry.Since.Format(time.TimeOnly), entry.LastExit)
	}
	return table.Flush()
}

func printState(output io.Writer, current state, still string) {
	word := "up"
	if !current.Ready {
		word = "starting"
	}
	fmt.Fprintf(output, "localcluster is %s%s at %s since %s\n", still, word, current.url(), current.Started.Format(time.DateTime))
}

// outsidePIDs maps process ids of the PID namespace whose first process is init
// to those that are seen from here.
func outsidePIDs(init int) map[int]int {
	namespace := func(process string) string {
		target, err := os.Readlink(filepath.Join("/proc", process, "ns/pid"))
		if err != nil {
			return ""
		}
		return target
	}
	wanted := namespace(strconv.Itoa(init))
	pids := map[int]int{}
	processes, err := os.ReadDir("/proc")
	if err != nil || wanted == "" {
		return pids
	}
	for _, entry := range processes {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || namespace(entry.Name()) != wanted {
			continue
		}
		if inside, ok := insidePID(entry.Name()); ok {
			pids[inside] = pid
		}
	}
	return pids
}

func insidePID(process string) (int, bool) {
	data, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			if len(fields) == 0 {
				return 0, false
			}
			inside, err := strconv.Atoi(fields[len(fields)-1])
			return inside, err == nil
		}
	}
	return 0, false
}
