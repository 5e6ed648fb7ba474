package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// kidPair is a KID and what it became.
type kidPair struct {
	Old key.KID `json:"old"`
	New key.KID `json:"new"`
}

// fileFinding is the --json shape of a cenc.Finding.
type fileFinding struct {
	Code   string `json:"code"`
	Sample int    `json:"sample"`
	Count  int    `json:"count"`
	Reason string `json:"reason"`

	text string
}

// fileReport is the --json shape of what became of a file.
type fileReport struct {
	In         string        `json:"in"`
	Out        string        `json:"out"`
	Samples    int           `json:"samples"`
	Protected  int64         `json:"protected"`
	Verdict    string        `json:"verdict"`
	Log10      float64       `json:"evidence_log10"`
	LookedAt   int64         `json:"looked_at"`
	KIDs       []kidPair     `json:"kids"`
	Kept       []key.KID     `json:"kept"`
	NotUpdated []string      `json:"not_updated"`
	Findings   []fileFinding `json:"findings"`
	// Unused are old KIDs of the key file that no sample is encrypted under.
	Unused []key.KID `json:"unused"`

	verdict evidence.Verdict
	checked bool // check values in the file prove every old key
	weighed evidence.Evidence
}

func newFileReport(in, out string) *fileReport {
	return &fileReport{
		In: in, Out: out, KIDs: []kidPair{}, Kept: []key.KID{}, NotUpdated: []string{}, Findings: []fileFinding{}, Unused: []key.KID{},
	}
}

func (r *fileReport) fill(res mediaResult) {
	r.Samples, r.Protected = res.Samples, res.Protected
	r.weighed, r.Log10, r.LookedAt = res.Evidence, res.Evidence.ForLog10, res.Evidence.Bytes
	r.verdict = res.Evidence.Verdict()
	if r.verdict == evidence.Undecided && r.checked {
		r.verdict = evidence.Right
	}
	r.Verdict = r.verdict.String()
	r.Kept = append(r.Kept, res.Kept...)
	r.NotUpdated = append(r.NotUpdated, res.NotUpdated...)
	for _, f := range res.Findings {
		r.Findings = append(r.Findings, fileFinding{f.Code, f.Sample, f.Count, f.Reason, f.String()})
	}
}

// odds says how good the evidence is.
func (r *fileReport) odds() string {
	chance := fmt.Sprintf("%.2g", r.weighed.MissProbability())
	if r.weighed.ForLog10 < -300 {
		chance = fmt.Sprintf("10^%.0f", r.weighed.ForLog10)
	}
	return fmt.Sprintf("miss probability %s over %d bytes", chance, r.weighed.Bytes)
}

// printFile prints to stdout, or to stderr where stdout is the media.
func (a *app) printFile(r *fileReport) error {
	if r.Out == "-" {
		b := *a
		b.stdout = a.stderr
		a = &b
	}
	if a.flags.json {
		return a.printJSON(r)
	}
	_, err := io.WriteString(a.stdout, r.text())
	return err
}

// text is one line, and one more for each thing to know of.
func (r *fileReport) text() string {
	var s strings.Builder
	proof := r.odds()
	if r.checked {
		proof += ", PlayReady CHECKSUM matches"
	}
	name := r.Out
	if name == "-" {
		name = "standard output"
	}
	fmt.Fprintf(&s, "%s: %d samples, %d bytes rekeyed; old key %s (%s)\n", name, r.Samples, r.Protected, r.Verdict, proof)
	for _, p := range r.KIDs {
		fmt.Fprintf(&s, "%s: KID %s is now %s\n", name, p.Old, p.New)
	}
	for _, k := range r.Kept {
		fmt.Fprintf(&s, "%s: samples under KID %s stay as they were\n", name, k)
	}
	for _, k := range r.Unused {
		fmt.Fprintf(&s, "%s: no sample is under KID %s\n", name, k)
	}
	for _, n := range r.NotUpdated {
		fmt.Fprintf(&s, "%s: the protection data of %s stays as it was\n", name, n)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&s, "%s finding: %s\n", name, f.text)
	}
	return s.String()
}

// bigFile is from where a person wants to see that something happens.
const bigFile = 64 << 20

// progress is a line that is drawn again and again. A nil one shows nothing.
type progress struct {
	w            io.Writer
	total, done  int64
	redraw       bool
	now          func() time.Time
	began, shown time.Time
	every        time.Duration
}

// newProgress returns nil where nobody would look.
func (a *app) newProgress(o fileOptions, total int64) *progress {
	onTerminal := terminal(a.stderr)
	if a.flags.json || o.quiet || !o.progress && (!onTerminal || total <= bigFile) {
		return nil
	}
	p := &progress{w: a.stderr, total: total, redraw: onTerminal, now: time.Now, every: 5 * time.Second}
	if onTerminal {
		p.every = 200 * time.Millisecond
	}
	p.began = p.now()
	p.shown = p.began
	return p
}

// at takes the bytes that are done.
func (p *progress) at(done int64) {
	if p == nil {
		return
	}
	p.done = done
	if now := p.now(); now.Sub(p.shown) >= p.every {
		p.shown = now
		p.draw(now)
	}
}

// end draws the last line and leaves it.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.draw(p.now())
	if p.redraw {
		_, _ = fmt.Fprintln(p.w)
	}
}

func (p *progress) draw(now time.Time) {
	percent, speed := 100.0, 0.0
	if p.total > 0 {
		percent = 100 * float64(p.done) / float64(p.total)
	}
	if s := now.Sub(p.began).Seconds(); s > 0 {
		speed = float64(p.done) / 1e6 / s
	}
	head, tail := "", "\n"
	if p.redraw {
		head, tail = "\r\x1b[K", ""
	}
	_, _ = fmt.Fprintf(p.w, "%s%s of %s  %.0f%%  %.0f MB/s%s", head, size(p.done), size(p.total), percent, speed, tail)
}
