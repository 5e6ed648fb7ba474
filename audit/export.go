package audit

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Exporter writes records for those who review them.
type Exporter interface {
	// Write adds one record. Errors are the underlying writer's.
	Write(e Entry) error
	// Flush writes what is still buffered.
	Flush() error
}

// exportColumns are the CSV's; more may be added at the end.
func exportColumns() []string {
	return []string{
		"id", "time", "actor", "role", "host", "origin", "client", "action", "kid", "rotation", "asset", "object",
		"request", "state_version", "outcome", "reason", "fips_140_3", "sp_800_57", "sp_800_130", "gdpr",
	}
}

type csvExporter struct {
	w    *csv.Writer
	head bool
}

// NewCSV returns an exporter of CSV (RFC 4180) with a head line. A cell that a
// spreadsheet would take for a formula gets an apostrophe before it.
func NewCSV(w io.Writer) Exporter { return &csvExporter{w: csv.NewWriter(w)} }

func (x *csvExporter) begin() error {
	if x.head {
		return nil
	}
	x.head = true
	return x.w.Write(exportColumns())
}

// Write implements Exporter.
func (x *csvExporter) Write(e Entry) error {
	if err := x.begin(); err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	version := ""
	if e.StateVersion != 0 {
		version = strconv.Itoa(e.StateVersion)
	}
	r := reviewOf(e.Action)
	cells := []string{
		e.ID, e.Time.UTC().Format(time.RFC3339Nano), e.Actor, e.Role, e.Host, e.Origin, e.Client, e.Action, e.KID, e.Rotation, e.Asset, e.Object,
		e.Request, version, e.Outcome, e.Reason, r.FIPS140, r.SP80057, r.SP800130, r.GDPR,
	}
	for i, c := range cells {
		cells[i] = plainCell(c)
	}
	if err := x.w.Write(cells); err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	return nil
}

// Flush implements Exporter. Without a record it leaves the head line alone.
func (x *csvExporter) Flush() error {
	err := x.begin()
	x.w.Flush()
	if err == nil {
		err = x.w.Error()
	}
	if err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	return nil
}

// plainCell keeps spreadsheets from evaluating what a record says, the full-width
// forms of the signs included. Blanks before a sign don't make it harmless: some
// programs trim them.
func plainCell(s string) string {
	trimmed := strings.TrimLeft(s, " \t\r\n\v\f\u00a0\u3000\ufeff\x00")
	if first, size := utf8.DecodeRuneInString(trimmed); size > 0 && strings.ContainsRune("=+-@＝＋－＠", first) {
		return "'" + s
	}
	if s != "" && strings.ContainsRune("\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

type jsonExporter struct{ enc *json.Encoder }

// exportLine is one line of the JSON export.
type exportLine struct {
	Entry
	Reviews exportReviews `json:"reviews"`
}

type exportReviews struct {
	FIPS140  string `json:"fips_140_3,omitempty"`
	SP80057  string `json:"sp_800_57,omitempty"`
	SP800130 string `json:"sp_800_130,omitempty"`
	GDPR     string `json:"gdpr,omitempty"`
}

// NewJSON returns an exporter of JSON, one object a line.
func NewJSON(w io.Writer) Exporter {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &jsonExporter{enc: enc}
}

// Write implements Exporter.
func (x *jsonExporter) Write(e Entry) error {
	r := reviewOf(e.Action)
	err := x.enc.Encode(exportLine{Entry: e, Reviews: exportReviews{r.FIPS140, r.SP80057, r.SP800130, r.GDPR}})
	if err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	return nil
}

// Flush implements Exporter.
func (x *jsonExporter) Flush() error { return nil }
