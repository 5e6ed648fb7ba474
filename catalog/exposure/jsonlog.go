package exposure

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// parseJSON reads a line of the format that the package's documentation gives.
func parseJSON(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" {
		return Fetch{}, nothing, nil
	}
	var r struct {
		Time   time.Time `json:"time"`
		Client string    `json:"client"`
		KID    string    `json:"kid"`
		URI    string    `json:"uri"`
		Status int       `json:"status"`
		Method string    `json:"method"`
		Agent  string    `json:"agent"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return Fetch{}, other, errors.New("it is no JSON object with time, client, kid or uri, and status")
	}
	f := Fetch{Time: r.Time.UTC(), Client: r.Client, Address: r.Client, URI: r.URI, Status: r.Status, Agent: r.Agent}
	if r.KID != "" {
		kid, err := key.ParseKID(r.KID)
		if err != nil {
			return Fetch{}, other, errors.New("kid is not 32 hex digits")
		}
		f.KID = kid
	}
	switch {
	case f.Time.IsZero():
		return Fetch{}, other, errors.New("time is missing")
	case f.Client == "":
		return Fetch{}, other, errors.New("client is missing")
	case r.KID == "" && f.URI == "":
		return Fetch{}, other, errors.New("kid and uri are missing")
	case f.Status < 100 || f.Status > 599:
		return Fetch{}, other, errors.New("status is no HTTP status")
	case !handsOut(strings.ToUpper(r.Method)):
		return f, other, nil
	}
	return f, fetch, nil
}

// What an audit record says of a key that left the ring. They are the audit and
// keyring packages' own words; a test holds them to that.
const (
	auditUnwrap  = "key.unwrap"
	auditExport  = "key.export"
	auditAllowed = "allowed"
	useDeliver   = "use deliver"
	useExport    = "use export"
)

// parseAudit reads a line of an audit export. An export asked for and the ring's
// own record of it are two records of one fetch: the ring's counts.
func parseAudit(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" {
		return Fetch{}, nothing, nil
	}
	var r struct {
		Time    time.Time `json:"time"`
		Actor   string    `json:"actor"`
		Origin  string    `json:"origin"`
		Action  string    `json:"action"`
		KID     string    `json:"kid"`
		Outcome string    `json:"outcome"`
		Reason  string    `json:"reason"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.Action == "" || r.Actor == "" || r.Time.IsZero() {
		return Fetch{}, other, errors.New("it is no JSON object with time, actor and action")
	}
	f := Fetch{Time: r.Time.UTC(), Client: r.Actor, Address: r.Origin, Status: http200}
	delivered := r.Action == auditUnwrap && r.Reason == useDeliver || r.Action == auditExport && r.Reason == useExport
	if !delivered || r.Outcome != auditAllowed {
		return f, other, nil
	}
	kid, err := key.ParseKID(r.KID)
	if err != nil {
		return Fetch{}, other, errors.New("kid is not 32 hex digits")
	}
	f.KID = kid
	return f, fetch, nil
}
