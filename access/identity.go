package access

import (
	"fmt"
	"strings"
	"time"
)

const (
	// DefaultLife is how long a token is good where its grant does not say.
	DefaultLife = 90 * 24 * time.Hour
	// MaxLife is how long one can be.
	MaxLife = 366 * 24 * time.Hour

	// MaxIdentities bounds those that are not revoked; ones that only expired
	// count until they are.
	MaxIdentities = 1000

	maxName = 64 // bytes of a name or a person
)

// Identity is a token's holder.
type Identity struct {
	ID      string    `json:"id"`
	Person  string    `json:"person"` // who it is; one person may hold several tokens
	Name    string    `json:"name"`   // what tells the person's tokens apart; not unique
	Roles   Role      `json:"roles,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// GrantedBy is the person who granted it.
	GrantedBy string `json:"granted_by"`
	// Revoked is told by List. It is not part of what is stored.
	Revoked bool `json:"-"`

	console bool
}

// Allows says in which of its roles the identity may do a; see [Role.Allows].
func (id Identity) Allows(a Action) (Role, bool) { return id.Roles.Allows(a) }

// String is the person and the id.
func (id Identity) String() string { return id.Person + " (" + id.ID + ")" }

// Grant is what an identity is to be.
type Grant struct {
	// Person is who holds it: letters, digits and ._@-; the case of letters does
	// not matter.
	Person string
	// Name tells tokens of one person apart. Empty: as the person.
	Name  string
	Roles Role
	// Expires is when it ends. Zero: after DefaultLife.
	Expires time.Time
}

// Console is whoever runs a command where the signing key and the control store
// are at hand, and so is outside what roles can hold: the one who grants the first
// Admin. It has no token and approves nothing.
func Console(person string) (Identity, error) {
	p, err := parsePerson(person)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Person: p, Name: "console", Roles: Admin, console: true}, nil
}

// parsePerson spells a person in the one way in which persons are compared. Only
// letters whose case is beyond doubt are let in, so that no two spellings look, or
// fold, alike.
func parsePerson(s string) (string, error) {
	p := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
	if err := checkPerson("person", p); err != nil {
		return "", err
	}
	return p, nil
}

func checkPerson(what, p string) error {
	switch {
	case p == "":
		return fmt.Errorf("%w: no %s", ErrInvalid, what)
	case len(p) > maxName:
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrInvalid, what, len(p), maxName)
	}
	for _, r := range p {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._@-", r) {
			return fmt.Errorf("%w: %s %s holds more than letters, digits and ._@-", ErrInvalid, what, quote(p))
		}
	}
	return nil
}

// storedIdentity is what stands under identities/.
type storedIdentity struct {
	Identity
	TokenSHA256 string `json:"token_sha256"`
}

func (s *storedIdentity) check() error {
	if !isID(s.ID) {
		return fmt.Errorf("%w: identity has no valid id", ErrInvalid)
	}
	if err := checkPerson("person", s.Person); err != nil {
		return err
	}
	if err := checkPerson("granting person", s.GrantedBy); err != nil {
		return err
	}
	if s.Name == "" {
		return fmt.Errorf("%w: no name", ErrInvalid)
	}
	if err := checkText("name", s.Name, maxName); err != nil {
		return err
	}
	if err := s.Roles.check(); err != nil {
		return err
	}
	if err := checkSpan("token", s.Created, s.Expires, MaxLife); err != nil {
		return err
	}
	if !isHex(s.TokenSHA256, 64) {
		return fmt.Errorf("%w: no digest of the token", ErrInvalid)
	}
	return nil
}

// checkSpan refuses what ends before it begins, or lives too long.
func checkSpan(what string, from, to time.Time, most time.Duration) error {
	for _, t := range []time.Time{from, to} {
		if y := t.UTC().Year(); t.IsZero() || y < 1 || y > 9999 {
			return fmt.Errorf("%w: %s has no time", ErrInvalid, what)
		}
	}
	switch {
	case !to.After(from):
		return fmt.Errorf("%w: %s ends before it begins", ErrInvalid, what)
	case to.Sub(from) > most:
		return fmt.Errorf("%w: %s lives for %s, at most %s", ErrInvalid, what, to.Sub(from).Round(time.Second), most)
	}
	return nil
}
