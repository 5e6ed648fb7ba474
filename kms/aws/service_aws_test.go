package aws_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// change is a change of a key's state on its way to all front ends.
type change struct {
	until time.Time
	was   bool // enabled, for front ends that do not know yet
	now   bool
	state string
	later func() // what local-kms is told once all know
	uses  int
}

// differs is what AWS answers where local-kms answers otherwise, nil where it
// does not.
func (s *service) differs(r *request) *answer {
	id := r.text("KeyId")
	s.arrive(id)
	if a := s.gone(r); a != nil {
		return a
	}
	switch r.action {
	case "Encrypt", "Decrypt":
		if a := s.stale(r.action, id); a != nil {
			return a
		}
		if r.action == "Decrypt" {
			return s.sealedUnder(id, r.text("CiphertextBlob"))
		}
	case "DescribeKey":
		return s.described(r)
	case "DisableKey", "ScheduleKeyDeletion", "EnableKey":
		return s.spreads(r)
	case "CancelKeyDeletion":
		// AWS leaves the key disabled, local-kms enables it.
		a := s.ask(r.action, r.raw)
		if a.err == nil && a.status == http.StatusOK {
			s.about("DisableKey", map[string]any{"KeyId": id})
		}
		return a
	}
	return nil
}

// sealedUnder looks at the key that the ciphertext names: AWS authenticates the
// name and tells another key from a damaged ciphertext, local-kms overlooks it,
// and ends the connection where the ciphertext is cut.
func (s *service) sealedUnder(id, blob string) *answer {
	b, err := base64.StdEncoding.DecodeString(blob)
	const rest = 4 + 12 + 16 // version, nonce, tag
	if err != nil || len(b) == 0 || len(b) < 1+int(b[0])+rest {
		return awsError("InvalidCiphertextException", "")
	}
	name := string(b[1 : 1+int(b[0])])
	switch {
	case name == id:
		return nil
	case s.metadata(name) != nil:
		return awsError("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	default:
		return awsError("InvalidCiphertextException", "")
	}
}

// gone answers for keys whose date has come by the test's clock.
func (s *service) gone(r *request) *answer {
	id := r.text("KeyId")
	m := s.metadata(id)
	if m == nil {
		return nil
	}
	due, ok := m["DeletionDate"].(float64)
	if !ok || s.now().Before(time.Unix(int64(due), 0)) {
		return nil
	}
	return awsError("NotFoundException", fmt.Sprintf("Key '%s' does not exist", id))
}

// spreads makes a change that front ends come to know one by one, if spread is
// set. A key that goes off stays on in local-kms until all know.
func (s *service) spreads(r *request) *answer {
	id := r.text("KeyId")
	m := s.metadata(id)
	if s.spread == 0 || m == nil || m["KeyState"] == "PendingDeletion" || s.changed[id] != nil {
		return nil
	}
	c := &change{until: s.now().Add(s.spread), was: m["Enabled"] == true, later: func() {}}
	switch r.action {
	case "EnableKey":
		c.now, c.state = true, "Enabled"
		s.changed[id] = c
		return nil // local-kms is told at once
	case "DisableKey":
		c.state = "Disabled"
	default:
		c.state = "PendingDeletion"
	}
	c.later = func() { s.ask(r.action, r.raw) }
	s.changed[id] = c
	if r.action == "DisableKey" {
		return &answer{status: http.StatusOK}
	}
	days, _ := r.body["PendingWindowInDays"].(float64)
	return &answer{status: http.StatusOK, body: fmt.Sprintf(`{"KeyId":%q,"DeletionDate":%d,"KeyState":"PendingDeletion","PendingWindowInDays":%d}`,
		id, s.now().AddDate(0, 0, int(days)).Unix(), int(days))}
}

// arrive ends a change that all front ends know of.
func (s *service) arrive(id string) {
	if c := s.changed[id]; c != nil && !s.now().Before(c.until) {
		c.later()
		delete(s.changed, id)
	}
}

// stale is the use of a key whose change is on its way: every other use meets a
// front end that does not know of it.
func (s *service) stale(action, id string) *answer {
	c := s.changed[id]
	if c == nil {
		return nil
	}
	c.uses++
	on := c.now
	if c.uses%2 == 0 {
		on = c.was
	}
	if on {
		return nil
	}
	return awsError("DisabledException", id+" is disabled.")
}

// described shows a change that is on its way as made.
func (s *service) described(r *request) *answer {
	c := s.changed[r.text("KeyId")]
	if c == nil {
		return nil
	}
	m := s.metadata(r.text("KeyId"))
	m["KeyState"], m["Enabled"] = c.state, c.now
	b, err := json.Marshal(map[string]any{"KeyMetadata": m})
	return &answer{status: http.StatusOK, body: strings.TrimSpace(string(b)), err: err}
}
