package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	identityPrefix = "identities/"
	noteSuffix     = ".note"
	revokedSuffix  = ".revoked"

	// maxListed bounds the names that one listing holds.
	maxListed = 100_000
)

// Options set up Identities.
type Options struct {
	// Store is the control store.
	Store store.Store
	Log   *audit.Log
	// Signer signs what is decided here. Nil: this process only reads, and
	// whatever decides is ErrNoSigner.
	Signer note.Signer
	// Verifiers are the keys that are trusted: the Signer's, and those of signers
	// before it whose identities and approvals still count.
	Verifiers []note.Verifier
	// Clock tells what has expired. Zero: the system's.
	Clock func() time.Time
	// Limiter slows down who fails to authenticate over HTTP. Zero: one of its
	// own. Share it between all that serve one port.
	Limiter *Limiter
	// Origin is the network address of who asks. Zero: the connection's. Behind a
	// proxy that is the proxy's, for everybody: set it to read the header that the
	// proxy, and only the proxy, sets.
	Origin func(*http.Request) string
	// Fault hears of what is answered with a status of 500 or more, and why; the
	// client is not told. Nil: nobody hears of it.
	Fault func(r *http.Request, status int, err error)
}

// Identities are the tokens of one control store. They are safe for concurrent
// use, also by many processes. Nothing is kept between calls, so a revocation
// counts from the moment it stands.
type Identities struct {
	o       Options
	trusted note.Verifiers
}

// NewIdentities reads and writes nothing.
func NewIdentities(o Options) *Identities {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Limiter == nil {
		o.Limiter = NewLimiter(o.Clock)
	}
	if o.Origin == nil {
		o.Origin = connectionOrigin
	}
	return &Identities{o: o, trusted: note.VerifierList(o.Verifiers...)}
}

// Grant makes a token, which is shown here and never again. Who may: an [Admin],
// for others than themself, and the [Console]. ErrForbidden, ErrInvalid, ErrFull,
// ErrNoSigner, those of [Identities.Authenticate] where by is no longer good, or an
// error of the store or the log: then there is no token.
func (i *Identities) Grant(ctx context.Context, by Identity, g Grant) (Token, Identity, error) {
	token, id, err := i.grant(ctx, by, g)
	if err != nil {
		return Token{}, Identity{}, fmt.Errorf("grant roles: %w", err)
	}
	return token, id, nil
}

func (i *Identities) grant(ctx context.Context, by Identity, g Grant) (Token, Identity, error) {
	by, e, err := i.enter(ctx, by, IdentityGrant)
	if err != nil {
		return Token{}, Identity{}, err
	}
	e.Action = audit.RoleGrant
	token, rec, body, err := i.prepare(by, g)
	if err == nil {
		e.Object = "identity/" + rec.ID
		e.Reason = fmt.Sprintf("%s, %s: %s until %s", rec.Person, rec.Name, rec.Roles, rec.Expires.Format(time.RFC3339))
		err = i.room(ctx)
	}
	if err != nil {
		return Token{}, Identity{}, i.settle(ctx, e, err)
	}
	if err := i.allow(ctx, e); err != nil {
		return Token{}, Identity{}, err
	}
	if _, err := store.PutOnce(ctx, i.o.Store, identityName(rec.ID), body, noteAttributes()); err != nil {
		return Token{}, Identity{}, i.settle(ctx, e, err)
	}
	return token, rec.Identity, nil
}

// prepare decides what is granted.
func (i *Identities) prepare(by Identity, g Grant) (Token, storedIdentity, []byte, error) {
	person, err := parsePerson(g.Person)
	if err != nil {
		return Token{}, storedIdentity{}, nil, err
	}
	if person == by.Person && !by.console {
		return Token{}, storedIdentity{}, nil, fmt.Errorf("%w: %s grants to themself", ErrForbidden, person)
	}
	now := i.now()
	rec := storedIdentity{Identity: Identity{
		ID: newID(), Person: person, Name: g.Name, Roles: g.Roles,
		Created: now, Expires: g.Expires.UTC().Round(0), GrantedBy: by.Person,
	}}
	if rec.Name == "" {
		rec.Name = person
	}
	if g.Expires.IsZero() {
		rec.Expires = now.Add(DefaultLife)
	}
	var token Token
	token, rec.TokenSHA256 = newToken(rec.ID)
	body, _, err := seal(i.o.Signer, kindIdentity, &rec)
	return token, rec, body, err
}

// room refuses one identity too many. Two who grant at once may both find room.
func (i *Identities) room(ctx context.Context) error {
	ids, err := i.names(ctx)
	if err != nil {
		return err
	}
	live := 0
	for _, id := range ids {
		if !id.revoked {
			live++
		}
	}
	if live >= MaxIdentities {
		return fmt.Errorf("%w identities: %d, at most %d that are not revoked", ErrFull, live, MaxIdentities)
	}
	return nil
}

// Authenticate says whose token it is: ErrUnauthenticated, ErrExpired, ErrRevoked,
// ErrForged or ErrCorrupt where what is stored cannot be believed, or an error of
// the store, with which nothing is known. No error says anything of the token, and
// only who holds the whole of it learns that it was good once.
func (i *Identities) Authenticate(ctx context.Context, token string) (Identity, error) {
	id, err := i.authenticate(ctx, token)
	if err != nil {
		return Identity{}, fmt.Errorf("authenticate: %w", err)
	}
	return id, nil
}

func (i *Identities) authenticate(ctx context.Context, token string) (Identity, error) {
	id, ok := tokenID(token)
	if !ok {
		return Identity{}, ErrUnauthenticated
	}
	rec, err := i.read(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Identity{}, ErrUnauthenticated
	}
	if err != nil {
		return Identity{}, err
	}
	if subtle.ConstantTimeCompare([]byte(digest(token)), []byte(rec.TokenSHA256)) != 1 {
		return Identity{}, ErrUnauthenticated
	}
	return i.live(ctx, rec)
}

// current is the identity as it stands now, whatever the caller's copy says.
func (i *Identities) current(ctx context.Context, id Identity) (Identity, error) {
	if id.console {
		return id, nil
	}
	if !isID(id.ID) {
		return Identity{}, ErrUnauthenticated
	}
	rec, err := i.read(ctx, id.ID)
	if errors.Is(err, store.ErrNotFound) {
		return Identity{}, ErrUnauthenticated
	}
	if err != nil {
		return Identity{}, err
	}
	return i.live(ctx, rec)
}

// live refuses what is over.
func (i *Identities) live(ctx context.Context, rec storedIdentity) (Identity, error) {
	revoked, err := exists(ctx, i.o.Store, revokedName(rec.ID))
	switch {
	case err != nil:
		return Identity{}, err
	case revoked:
		return Identity{}, ErrRevoked
	case !i.now().Before(rec.Expires):
		return Identity{}, ErrExpired
	}
	return rec.Identity, nil
}

// Revoke ends a token for good; one that is revoked already stays so, without an
// error. Who may: an [Admin], the [Console], and whoever's token it is.
func (i *Identities) Revoke(ctx context.Context, by Identity, id, reason string) error {
	if err := i.revoke(ctx, by, id, reason); err != nil {
		return fmt.Errorf("revoke roles: %w", err)
	}
	return nil
}

func (i *Identities) revoke(ctx context.Context, by Identity, id, reason string) error {
	enter := func() (Identity, audit.Record, error) { return i.enter(ctx, by, IdentityRevoke) }
	if isID(id) && by.ID == id {
		enter = func() (Identity, audit.Record, error) { return i.enterAny(ctx, by) }
	}
	_, e, err := enter()
	if err != nil {
		return err
	}
	e.Action, e.Reason = audit.RoleRevoke, reason
	revoked, err := i.revocable(ctx, &e, id, reason)
	if err != nil {
		return i.settle(ctx, e, err)
	}
	if revoked {
		e.Outcome = audit.Unchanged
		return i.o.Log.Append(ctx, e)
	}
	if err := i.allow(ctx, e); err != nil {
		return err
	}
	// The same bytes for everybody: two who revoke at once have both done it.
	if _, err := store.PutOnce(ctx, i.o.Store, revokedName(id), []byte(id+" revoked\n"), store.Attributes{ContentType: "text/plain"}); err != nil {
		return i.settle(ctx, e, err)
	}
	return nil
}

// revocable looks for what is to be revoked, whether or not it can be believed.
func (i *Identities) revocable(ctx context.Context, e *audit.Record, id, reason string) (revoked bool, err error) {
	if err := checkText("reason", reason, maxReason); err != nil {
		e.Reason = ""
		return false, err
	}
	if !isID(id) {
		return false, fmt.Errorf("%w: %s is no identity's id", ErrInvalid, quote(id))
	}
	e.Object = "identity/" + id
	switch there, err := exists(ctx, i.o.Store, identityName(id)); {
	case err != nil:
		return false, err
	case !there:
		return false, fmt.Errorf("%w: identity %s", ErrNotFound, id)
	}
	return exists(ctx, i.o.Store, revokedName(id))
}

// List yields every identity, in the order of ids, revoked and expired ones among
// them. One that cannot be believed is yielded as an error (ErrForged, ErrCorrupt)
// and the walk goes on; where the store fails, that error is the last.
func (i *Identities) List(ctx context.Context) iter.Seq2[Identity, error] {
	return func(yield func(Identity, error) bool) {
		ids, err := i.names(ctx)
		if err != nil {
			yield(Identity{}, fmt.Errorf("list identities: %w", err))
			return
		}
		for _, found := range ids {
			rec, err := i.read(ctx, found.id)
			if err != nil {
				rec, err = storedIdentity{}, fmt.Errorf("list identities: %w", err)
				rec.ID = found.id
			}
			rec.Revoked = found.revoked
			if !yield(rec.Identity, err) || err != nil && !isOneOf(err, ErrForged, ErrCorrupt) {
				return
			}
		}
	}
}

type foundIdentity struct {
	id      string
	revoked bool
}

// names lists the identities without reading them. What has another name is none.
func (i *Identities) names(ctx context.Context) ([]foundIdentity, error) {
	var all []foundIdentity
	for info, err := range i.o.Store.List(ctx, identityPrefix) {
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(info.Key, identityPrefix)
		// The store lists x.note before x.revoked.
		if id, ok := strings.CutSuffix(name, noteSuffix); ok && isID(id) {
			if len(all) == maxListed {
				return nil, fmt.Errorf("%w identities: more than %d", ErrFull, maxListed)
			}
			all = append(all, foundIdentity{id: id})
		} else if id, ok := strings.CutSuffix(name, revokedSuffix); ok && len(all) > 0 && all[len(all)-1].id == id {
			all[len(all)-1].revoked = true
		}
	}
	return all, nil
}

func (i *Identities) read(ctx context.Context, id string) (storedIdentity, error) {
	name := identityName(id)
	body, _, err := store.ReadAll(ctx, i.o.Store, name, "", maxObject, nil)
	if errors.Is(err, store.ErrTooLarge) {
		return storedIdentity{}, corrupt(name, "more than %d bytes", maxObject)
	}
	if err != nil {
		return storedIdentity{}, err
	}
	var rec storedIdentity
	if _, err := unseal(name, i.trusted, kindIdentity, body, &rec); err != nil {
		return storedIdentity{}, err
	}
	if rec.ID != id {
		return storedIdentity{}, forged(name, "is another identity's")
	}
	return rec, nil
}

func identityName(id string) string { return identityPrefix + id + noteSuffix }

func revokedName(id string) string { return identityPrefix + id + revokedSuffix }

func noteAttributes() store.Attributes {
	return store.Attributes{ContentType: "text/plain; charset=utf-8"}
}

// exists asks whether an object stands. Only the store's clear answer is a no.
func exists(ctx context.Context, s store.Reader, name string) (bool, error) {
	_, err := s.Stat(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// now is the time as it reads back from JSON.
func (i *Identities) now() time.Time { return i.o.Clock().UTC().Round(0) }
