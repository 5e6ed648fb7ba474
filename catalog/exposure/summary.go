package exposure

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

const (
	defaultPairs = 1_000_000
	defaultKeys  = 100_000
	defaultTop   = 10

	// maxText bounds a client and an agent that are kept, in bytes.
	maxText = 256
	// maxUnmatched bounds the references that are shown of those no key stands at.
	maxUnmatched = 10
	// maxAgents bounds the agents that are kept once for all clients.
	maxAgents = 4096
)

// SummaryOptions say how to add fetches up.
type SummaryOptions struct {
	// Resolver finds the keys of a URI. nil: only fetches that name a KID match.
	Resolver Resolver
	// Pairs bounds the pairs of key and client that are kept. 0: a million, which
	// take some 200 MB. Beyond, a key's further clients are estimated.
	Pairs int
	// Keys bounds the keys. 0: 100,000. Fetches of further ones are counted
	// together.
	Keys int
	// Top is how many clients a result lists for each key. 0: 10.
	Top int
}

// Summary adds fetches up by key. It is for one goroutine at a time; what several
// made of several logs, Merge brings together.
type Summary struct {
	o         SummaryOptions
	keys      map[key.KID]*tally
	pairs     int
	unmatched Unmatched
	unlisted  int64
	files     []Report
	agents    map[string]string // those met first, each kept once
}

// tally is what is known of one key.
type tally struct {
	fetches, notModified int64
	first, last          time.Time
	clients              map[string]*Client
	rest                 *sketch // of all clients, once one could not be listed
}

// Client is one client of one key.
type Client struct {
	Client  string    `json:"client"`
	Fetches int64     `json:"fetches"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Address string    `json:"address,omitempty"` // of the last fetch, where it is not the client's name
	Agent   string    `json:"agent,omitempty"`   // of the last fetch
}

// NewSummary returns a summary of nothing.
func NewSummary(o SummaryOptions) *Summary {
	o.Pairs = cmp.Or(max(o.Pairs, 0), defaultPairs)
	o.Keys = cmp.Or(max(o.Keys, 0), defaultKeys)
	o.Top = cmp.Or(max(o.Top, 0), defaultTop)
	return &Summary{o: o, keys: map[key.KID]*tally{}, agents: map[string]string{}}
}

// AddLog reads a log to its end, and keeps its report. The error is what [Log.All]
// ended with, or the resolver's; what came before it is added.
func (s *Summary) AddLog(l *Log) error {
	var failed error
	for f, err := range l.All() {
		if err == nil {
			err = s.Add(f)
		}
		if err != nil {
			failed = err
			break
		}
	}
	s.files = append(s.files, l.Report())
	return failed
}

// Add counts one fetch: for the KID that it names, or else for each that stands at
// its URI. Fetches that did not succeed are passed over, but for 304.
func (s *Summary) Add(f Fetch) error {
	if !success(f.Status) && f.Status != notModified {
		return nil
	}
	if f.KID != (key.KID{}) {
		s.count(f.KID, f)
		return nil
	}
	r, err := ParseRef(f.URI)
	if err != nil {
		if errors.Is(err, ErrReference) {
			s.unmatched.add(1, "")
			return nil
		}
		return err
	}
	var kids []key.KID
	if s.o.Resolver != nil {
		if kids, err = s.o.Resolver.KIDs(r); err != nil {
			return fmt.Errorf("find the keys at %q: %w", r, err)
		}
	}
	if len(kids) == 0 {
		s.unmatched.add(1, r.String())
	}
	for _, k := range kids {
		s.count(k, f)
	}
	return nil
}

// tallyOf returns a key's tally; nil: there are too many keys.
func (s *Summary) tallyOf(kid key.KID) *tally {
	t := s.keys[kid]
	if t == nil && len(s.keys) < s.o.Keys {
		t = &tally{clients: map[string]*Client{}}
		s.keys[kid] = t
	}
	return t
}

func (s *Summary) count(kid key.KID, f Fetch) {
	t := s.tallyOf(kid)
	switch {
	case t == nil:
		s.unlisted++
		return
	case f.Status == notModified:
		t.notModified++
		return
	}
	t.fetches++
	t.within(f.Time, f.Time)
	s.client(t, Client{Client: f.Client, Fetches: 1, First: f.Time, Last: f.Time, Address: f.Address, Agent: f.Agent})
}

func (t *tally) within(first, last time.Time) {
	t.first, t.last = earlier(t.first, first), later(t.last, last)
}

// client adds what one client did, if there is room for it in the list; else it is
// counted alone.
func (s *Summary) client(t *tally, c Client) {
	name := bounded256(c.Client)
	if t.rest != nil {
		t.rest.add(hashOf(name))
	}
	have := t.clients[name]
	switch {
	case have != nil:
		have.join(c, s.intern)
	case s.pairs < s.o.Pairs:
		s.pairs++
		name = strings.Clone(name) // the line it was cut from is let go
		kept := &Client{Client: name, Fetches: c.Fetches, First: c.First, Last: c.Last}
		kept.seen(c, s.intern)
		t.clients[name] = kept
	case t.rest == nil:
		t.rest = &sketch{}
		for listed := range t.clients {
			t.rest.add(hashOf(listed))
		}
		t.rest.add(hashOf(name))
	}
}

// join adds what the same client did elsewhere. Of two last fetches at one time
// the agent that sorts last is kept, so that the order of logs is no matter.
func (c *Client) join(o Client, intern func(string) string) {
	c.Fetches += o.Fetches
	c.First = earlier(c.First, o.First)
	if d := o.Last.Compare(c.Last); d > 0 || d == 0 && cmp.Or(
		cmp.Compare(bounded256(o.Agent), c.Agent), cmp.Compare(addressOf(o), c.Address)) > 0 {
		c.Last = o.Last
		c.seen(o, intern)
	}
}

// seen keeps where the last fetch came from.
func (c *Client) seen(o Client, intern func(string) string) {
	if agent := bounded256(o.Agent); agent != c.Agent {
		c.Agent = intern(agent)
	}
	if address := addressOf(o); address != c.Address {
		c.Address = strings.Clone(address)
	}
}

// intern keeps an agent that many clients have once.
func (s *Summary) intern(agent string) string {
	kept, ok := s.agents[agent]
	if !ok {
		kept = strings.Clone(agent)
		if len(s.agents) < maxAgents {
			s.agents[kept] = kept
		}
	}
	return kept
}

func addressOf(c Client) string {
	if c.Address == c.Client {
		return ""
	}
	return bounded256(c.Address)
}

// bounded256 cuts a text that is too long to keep, and ends it in its hash, so that
// two that differ behind the cut stay two.
func bounded256(s string) string {
	if len(s) <= maxText {
		return s
	}
	hash := fmt.Sprintf("…%016x", hashOf(s))
	return strings.ToValidUTF8(s[:maxText-len(hash)], "") + hash
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Merge adds what another summary counted. It keeps its own bounds.
func (s *Summary) Merge(o *Summary) {
	s.unlisted += o.unlisted
	s.unmatched.Fetches += o.unmatched.Fetches
	for _, r := range o.unmatched.References {
		s.unmatched.add(0, r)
	}
	s.files = append(s.files, o.files...)
	// In order, so that who is listed at the bound depends on nothing else.
	for _, kid := range o.sorted() {
		from := o.keys[kid]
		t := s.tallyOf(kid)
		if t == nil {
			s.unlisted += from.fetches + from.notModified
			continue
		}
		t.fetches += from.fetches
		t.notModified += from.notModified
		t.within(from.first, from.last)
		for _, c := range from.list() {
			s.client(t, *c)
		}
		t.mergeRest(from.rest)
	}
}

// mergeRest takes in the clients that another tally did not list.
func (t *tally) mergeRest(rest *sketch) {
	if rest == nil {
		return
	}
	if t.rest == nil {
		t.rest = &sketch{}
		for listed := range t.clients {
			t.rest.add(hashOf(listed))
		}
	}
	t.rest.merge(rest)
}

func (s *Summary) sorted() []key.KID {
	kids := make([]key.KID, 0, len(s.keys))
	for k := range s.keys {
		kids = append(kids, k)
	}
	slices.SortFunc(kids, func(a, b key.KID) int { return bytes.Compare(a[:], b[:]) })
	return kids
}

// list returns the listed clients, those who fetched most first.
func (t *tally) list() []*Client {
	all := make([]*Client, 0, len(t.clients))
	for _, c := range t.clients {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Client) int {
		return cmp.Or(cmp.Compare(b.Fetches, a.Fetches), cmp.Compare(a.Client, b.Client))
	})
	return all
}

// number is how many clients fetched the key, and whether that is an estimate.
func (t *tally) number() (n int64, estimated bool) {
	if t.rest == nil {
		return int64(len(t.clients)), false
	}
	return max(t.rest.estimate(), int64(len(t.clients))+1), true
}
