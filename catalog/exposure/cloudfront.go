package exposure

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cloudFrontRecord is what matters of a request in any of CloudFront's logs.
type cloudFrontRecord struct {
	Date    loose `json:"date"`
	Time    loose `json:"time"`
	Stamp   loose `json:"timestamp"`     // seconds since 1970, with a fraction
	Millis  loose `json:"timestamp(ms)"` // milliseconds since then
	Client  loose `json:"c-ip"`
	Method  loose `json:"cs-method"`
	Stem    loose `json:"cs-uri-stem"` // with the query, in a real-time log
	Query   loose `json:"cs-uri-query"`
	Status  loose `json:"sc-status"`
	Agent   loose `json:"cs-user-agent"`
	AgentV1 loose `json:"cs(User-Agent)"`
	// In a standard log x-host-header is the name that the viewer used, and
	// cs(Host) that of the distribution; in a real-time log x-host-header is
	// that of the distribution, and cs-host the viewer's.
	Host   loose `json:"cs-host"`
	HostV1 loose `json:"x-host-header"`
	HostV0 loose `json:"cs(Host)"`
}

// column is where the record keeps a field of that name; nil: it does not matter.
func (r *cloudFrontRecord) column(name string) *loose {
	switch name {
	case "date":
		return &r.Date
	case "time":
		return &r.Time
	case "timestamp":
		return &r.Stamp
	case "timestamp(ms)":
		return &r.Millis
	case "c-ip":
		return &r.Client
	case "cs-method":
		return &r.Method
	case "cs-uri-stem":
		return &r.Stem
	case "cs-uri-query":
		return &r.Query
	case "sc-status":
		return &r.Status
	case "cs-user-agent":
		return &r.Agent
	case "cs(User-Agent)":
		return &r.AgentV1
	case "cs-host":
		return &r.Host
	case "x-host-header":
		return &r.HostV1
	case "cs(Host)":
		return &r.HostV0
	}
	return nil
}

// w3c reads CloudFront's standard logs: the W3C extended log file format
// (www.w3.org/TR/WD-logfile.html) with tabs between the fields. Before a #Fields line there is
// nothing that can be read.
type w3c struct {
	fields []string
	record cloudFrontRecord
}

func (w *w3c) parse(line string) (Fetch, kind, error) {
	if names, ok := strings.CutPrefix(line, "#Fields:"); ok {
		w.fields = strings.Fields(names)
		return Fetch{}, nothing, nil
	}
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return Fetch{}, nothing, nil
	}
	if w.fields == nil {
		return Fetch{}, other, errors.New("no #Fields line comes before it")
	}
	if n := strings.Count(line, "\t") + 1; n != len(w.fields) {
		return Fetch{}, other, fmt.Errorf("it has %d fields where #Fields names %d", n, len(w.fields))
	}
	w.record = cloudFrontRecord{}
	for _, name := range w.fields {
		var cell string
		cell, line, _ = strings.Cut(line, "\t")
		if to := w.record.column(name); to != nil {
			*to = loose(cell)
		}
	}
	return w.record.fetch()
}

// parseCloudFrontJSON reads a line of a real-time log that was written as JSON, or
// of a standard log for which JSON was chosen.
func parseCloudFrontJSON(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" {
		return Fetch{}, nothing, nil
	}
	var r cloudFrontRecord
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return Fetch{}, other, errors.New("it is no JSON object of strings and numbers")
	}
	return r.fetch()
}

func (r *cloudFrontRecord) fetch() (Fetch, kind, error) {
	when, err := r.when()
	if err != nil {
		return Fetch{}, other, err
	}
	f := Fetch{Time: when, Client: r.Client.text(), Agent: agentOf(r.Agent.first(r.AgentV1))}
	f.Address = f.Client
	stem := r.Stem.text()
	if f.Client == "" || stem == "" {
		return Fetch{}, other, errors.New("c-ip or cs-uri-stem is missing")
	}
	if f.Status, err = status(r.Status.text()); err != nil {
		return Fetch{}, other, err
	}
	// CloudFront encodes blanks, quotes and the like, and percent signs too, so
	// that a client's %20 stands as %2520. The rest ParseRef makes alike.
	stem = strings.ReplaceAll(stem, "%25", "%")
	f.URI = stem
	if query := r.Query.text(); query != "" && !strings.Contains(stem, "?") {
		f.URI += "?" + strings.ReplaceAll(query, "%25", "%")
	}
	if host := r.Host.first(r.HostV1, r.HostV0); host != "" && stem[0] == '/' {
		f.URI = "https://" + host + f.URI
	}
	if !handsOut(r.Method.text()) {
		return f, other, nil
	}
	return f, fetch, nil
}

// agentOf decodes a User-Agent, which is encoded once or, in older logs, twice.
func agentOf(s string) string { return unpercent(strings.ReplaceAll(s, "%25", "%")) }

// when reads date and time, which are UTC, or a timestamp.
func (r *cloudFrontRecord) when() (time.Time, error) {
	if r.Date.text() != "" && r.Time.text() != "" {
		t, err := time.Parse("2006-01-02 15:04:05", r.Date.text()+" "+r.Time.text())
		if err != nil {
			return time.Time{}, errors.New("date and time are not of the form 2006-01-02 and 15:04:05")
		}
		return t, nil
	}
	text, perSecond := r.Stamp.text(), 1.0
	if text == "" {
		text, perSecond = r.Millis.text(), 1000
	}
	n, err := strconv.ParseFloat(text, 64)
	if n /= perSecond; err != nil || !(n > 0 && n < 1<<37) {
		return time.Time{}, errors.New("there is neither date and time nor a timestamp")
	}
	return time.UnixMilli(int64(n*1000 + 0.5)).UTC(), nil
}

// loose is a member that some write as a string and some as a number.
type loose string

// UnmarshalJSON takes a string, a number or null.
func (l *loose) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case len(b) > 0 && b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	case string(b) == "null":
	case len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9'):
		s = string(b)
	default:
		return errors.New("member is neither a string nor a number")
	}
	*l = loose(s)
	return nil
}

func (l loose) text() string { return unlessDash(string(l)) }

// first returns the first of several members that says something.
func (l loose) first(more ...loose) string {
	i := slices.IndexFunc(more, func(m loose) bool { return m.text() != "" })
	switch {
	case l.text() != "":
		return l.text()
	case i >= 0:
		return more[i].text()
	}
	return ""
}
