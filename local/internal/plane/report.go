package plane

import (
	"encoding/json"
	"io"
	"time"
)

// Report is one line that the first process writes while it starts. Either a
// step has ended, or the start has failed, or everything is ready.
type Report struct {
	Step    string  `json:"step,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Error   string  `json:"error,omitempty"`
	Ready   bool    `json:"ready,omitempty"`
}

type reporter struct {
	output  io.WriteCloser
	encoder *json.Encoder
	begin   time.Time
}

func newReporter(output io.WriteCloser) *reporter {
	return &reporter{output: output, encoder: json.NewEncoder(output), begin: time.Now()}
}

// step reports the end of a step that began when the last one ended. Nobody
// may be listening any more, so errors of the pipe are of no interest.
func (r *reporter) step(name string) {
	now := time.Now()
	_ = r.encoder.Encode(Report{Step: name, Seconds: now.Sub(r.begin).Seconds()})
	r.begin = now
}

func (r *reporter) finish(err error) {
	if err != nil {
		_ = r.encoder.Encode(Report{Error: err.Error()})
	} else {
		_ = r.encoder.Encode(Report{Ready: true})
	}
	_ = r.output.Close()
}
