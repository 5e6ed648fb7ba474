package exposure_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
	"github.com/seed-6133abe0/rekey/key"
)

var start = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)

// got is a fetch of a key's n-th minute.
func got(k byte, client string, minute int) exposure.Fetch {
	return exposure.Fetch{Time: start.Add(time.Duration(minute) * time.Minute), Client: client, Address: client, KID: kid(k), Status: 200, Agent: "tv"}
}

func add(t testing.TB, s *exposure.Summary, all ...exposure.Fetch) {
	t.Helper()
	for _, f := range all {
		if err := s.Add(f); err != nil {
			t.Fatal(err)
		}
	}
}

func shape(t testing.TB, s *exposure.Summary) string {
	t.Helper()
	b, err := json.MarshalIndent(s.Result(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// logs are three that share keys and clients, one of them of another format.
func logs() map[string]string {
	line := func(client, minute, uri, status, agent string) string {
		return fmt.Sprintf("%s - - [10/Mar/2026:00:%s:00 +0000] \"GET %s HTTP/1.1\" %s 16 \"-\" \"%s\"\n", client, minute, uri, status, agent)
	}
	return map[string]string{
		"a.log": line("192.0.2.1", "01", "/keys/1.key", "200", "tv") + line("192.0.2.2", "02", "/keys/1.key?token=sesame", "200", "tv") +
			line("192.0.2.1", "03", "/keys/2.key", "200", "tv") + line("192.0.2.9", "04", "/keys/2.key", "304", "tv") + "junk\n",
		"b.log": line("192.0.2.1", "09", "/keys/1.key", "206", "phone") + line("192.0.2.3", "05", "/keys/1.key", "200", "\\x1b[31mred") +
			line("192.0.2.3", "06", "/keys/1.key", "403", "tv") + line("192.0.2.4", "07", "/favicon.ico?token=sesame", "200", "tv"),
		"c.jsonl": `{"time":"2026-03-10T00:00:30Z","client":"192.0.2.1","kid":"` + kid(1).String() + `","status":200}` + "\n",
	}
}

func resolver(t testing.TB) *exposure.Index {
	t.Helper()
	var x exposure.Index
	for n := range byte(2) {
		if err := x.Add(fmt.Sprintf("https://cdn.example/keys/%d.key", n+1), kid(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	return &x
}

func addLog(t testing.TB, s *exposure.Summary, name string) {
	t.Helper()
	if err := s.AddLog(exposure.Read(strings.NewReader(logs()[name]), exposure.Options{Name: name})); err != nil {
		t.Fatal(err)
	}
}

const wantText = `01010101010101010101010101010101: 3 clients, 5 fetches, 2026-03-10T00:00:30Z to 2026-03-10T00:09:00Z
  192.0.2.1  3 fetches  2026-03-10T00:00:30Z  2026-03-10T00:09:00Z  phone
  192.0.2.2  1 fetch    2026-03-10T00:02:00Z  2026-03-10T00:02:00Z  tv
  and 1 more
02020202020202020202020202020202: 1 client, 1 fetch, 2026-03-10T00:03:00Z to 2026-03-10T00:03:00Z, 1 not modified
  192.0.2.1  1 fetch  2026-03-10T00:03:00Z  2026-03-10T00:03:00Z  tv
1 fetch of what no known key stands at
  /favicon.ico
a.log (combined): 5 lines, 3 counted, 1 not modified, 0 refused, 0 outside the time, 0 other, 1 unreadable
  line 5: log line is malformed: there is no [time] before a quoted request
b.log (combined): 4 lines, 3 counted, 0 not modified, 1 refused, 0 outside the time, 0 other, 0 unreadable
c.jsonl (json): 1 line, 1 counted, 0 not modified, 0 refused, 0 outside the time, 0 other, 0 unreadable
`

// The order of logs, and whether one summary reads all or one each, is no matter.
func TestSummaryOfLogs(t *testing.T) {
	o := exposure.SummaryOptions{Resolver: resolver(t), Top: 2}
	first := ""
	for _, order := range [][]string{
		{"a.log", "b.log", "c.jsonl"}, {"c.jsonl", "b.log", "a.log"}, {"b.log", "a.log", "c.jsonl"},
	} {
		one, merged := exposure.NewSummary(o), exposure.NewSummary(o)
		for _, name := range order {
			addLog(t, one, name)
			each := exposure.NewSummary(o)
			addLog(t, each, name)
			merged.Merge(each)
		}
		var text bytes.Buffer
		if err := one.Result().WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if text.String() != wantText {
			t.Errorf("order %v:\n%s", order, text.String())
		}
		if first == "" {
			first = shape(t, one)
		}
		if got := shape(t, one); got != first {
			t.Errorf("order %v differs:\n%s\nwant\n%s", order, got, first)
		}
		if got := shape(t, merged); got != first {
			t.Errorf("order %v, merged, differs:\n%s\nwant\n%s", order, got, first)
		}
	}
	for _, secret := range []string{"sesame", "\x1b"} {
		if strings.Contains(first, secret) {
			t.Errorf("the result shows %q", secret)
		}
	}
}

// The JSON of a result is an interface.
func TestResultJSON(t *testing.T) {
	s := exposure.NewSummary(exposure.SummaryOptions{})
	f := got(1, "alice", 1)
	f.Address = "192.0.2.1"
	late := got(2, "bob", 2)
	late.Status = 304
	stray := exposure.Fetch{Time: start, Client: "x", URI: "/a?token=1", Status: 200}
	add(t, s, f, late, stray)
	b, err := json.Marshal(s.Result())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"keys":[{"kid":"01010101010101010101010101010101","clients":1,"listed":1,"fetches":1,"first":"2026-03-10T00:01:00Z","last":"2026-03-10T00:01:00Z","not_modified":0,` +
		`"top":[{"client":"alice","fetches":1,"first":"2026-03-10T00:01:00Z","last":"2026-03-10T00:01:00Z","address":"192.0.2.1","agent":"tv"}]},` +
		`{"kid":"02020202020202020202020202020202","clients":0,"listed":0,"fetches":0,"not_modified":1}],"unmatched":{"fetches":1,"references":["/a"]}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if k, ok := s.Key(kid(1)); !ok || k.Clients != 1 {
		t.Errorf("key 1: %+v, %v", k, ok)
	}
	if k, ok := s.Key(kid(9)); ok || k.KID != kid(9) || s.Clients(kid(9)) != nil {
		t.Errorf("key 9: %+v, %v", k, ok)
	}
	if c := s.Clients(kid(1)); len(c) != 1 || c[0].Client != "alice" {
		t.Errorf("clients %+v", c)
	}
}

// Clients go before fetches, fetches before the last time, and KIDs decide.
func TestOrder(t *testing.T) {
	s := exposure.NewSummary(exposure.SummaryOptions{})
	add(t, s, got(5, "a", 1), got(4, "a", 1), got(3, "a", 2), // alike but for the time
		got(2, "a", 0), got(2, "a", 0), got(2, "a", 0), // more fetches
		got(1, "a", 0), got(1, "b", 0)) // more clients
	var order []byte
	for _, k := range s.Result().Keys {
		order = append(order, k.KID[0])
	}
	if want := []byte{1, 2, 3, 4, 5}; !bytes.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// Beyond the bound fetches are exact, nothing is lost, and clients are an estimate.
func TestPairsBound(t *testing.T) {
	const clients, rounds, pairs = 20_000, 2, 500
	s := exposure.NewSummary(exposure.SummaryOptions{Pairs: pairs})
	halves := [2]*exposure.Summary{exposure.NewSummary(exposure.SummaryOptions{Pairs: pairs}), exposure.NewSummary(exposure.SummaryOptions{Pairs: pairs})}
	for round := range rounds {
		for i := range clients {
			f := got(1, fmt.Sprintf("198.51.%d.%d", i/256, i%256), i)
			add(t, s, f)
			add(t, halves[(i+round)%2], f)
		}
	}
	for i := range 3 { // there is no room left to list these
		add(t, s, got(2, fmt.Sprint("late ", i%3), i))
	}
	halves[0].Merge(halves[1])
	for name, s := range map[string]*exposure.Summary{"one": s, "merged": halves[0]} {
		k, _ := s.Key(kid(1))
		if k.Fetches != clients*rounds || k.Listed != pairs || !k.Estimated {
			t.Errorf("%s: %+v", name, k)
		}
		if off := math.Abs(float64(k.Clients)-clients) / clients; off > 0.05 {
			t.Errorf("%s: %d clients, %.1f %% off", name, k.Clients, off*100)
		}
		if !k.First.Equal(start) || !k.Last.Equal(start.Add((clients-1)*time.Minute)) {
			t.Errorf("%s: from %v to %v", name, k.First, k.Last)
		}
	}
	if k, _ := s.Key(kid(2)); k.Clients != 3 || k.Listed != 0 || k.Fetches != 3 || !k.Estimated {
		t.Errorf("few clients beyond the bound: %+v", k)
	}
	if k, _ := s.Key(kid(1)); k.Top[0].Fetches != rounds {
		t.Errorf("a listed client: %+v", k.Top[0])
	}
}

func TestKeysBound(t *testing.T) {
	a := exposure.NewSummary(exposure.SummaryOptions{Keys: 2})
	b := exposure.NewSummary(exposure.SummaryOptions{})
	for n := range byte(5) {
		add(t, a, got(n+1, "a", 0), got(n+1, "a", 1))
		add(t, b, got(n+10, "a", 0))
	}
	if r := a.Result(); len(r.Keys) != 2 || r.Unlisted != 6 {
		t.Errorf("%d keys, %d fetches unlisted", len(r.Keys), r.Unlisted)
	}
	a.Merge(b)
	if r := a.Result(); len(r.Keys) != 2 || r.Unlisted != 11 {
		t.Errorf("merged: %d keys, %d fetches unlisted", len(r.Keys), r.Unlisted)
	}
}

// Names that are too long are cut, and stay different.
func TestLongNames(t *testing.T) {
	s := exposure.NewSummary(exposure.SummaryOptions{})
	long := strings.Repeat("é", 1000)
	add(t, s, got(1, long+"1", 0), got(1, long+"2", 0), got(1, long+"1", 0))
	all := s.Clients(kid(1))
	if len(all) != 2 || all[0].Fetches != 2 || len(all[0].Client) > 256 {
		t.Errorf("clients %+v", all)
	}
}

// Of what is not matched the same few are shown whatever the order.
func TestUnmatched(t *testing.T) {
	up, down := exposure.NewSummary(exposure.SummaryOptions{}), exposure.NewSummary(exposure.SummaryOptions{})
	for i := range 30 {
		for s, n := range map[*exposure.Summary]int{up: i, down: 29 - i} {
			f := exposure.Fetch{Time: start, Client: "c", Status: 200, URI: fmt.Sprintf("https://h.example/%02d?sig=%d", n, n)}
			add(t, s, f, f)
		}
	}
	add(t, up, exposure.Fetch{Time: start, Client: "c", Status: 200, URI: "data:x"})
	add(t, down, exposure.Fetch{Time: start, Client: "c", Status: 200})
	u := up.Result().Unmatched
	if u.Fetches != 61 || len(u.References) != 10 || u.References[0] != "h.example/00" || u.References[9] != "h.example/09" {
		t.Errorf("%+v", u)
	}
	if a, b := shape(t, up), shape(t, down); a != b {
		t.Errorf("%s\nand\n%s", a, b)
	}
	up.Merge(down)
	if u := up.Result().Unmatched; u.Fetches != 122 || len(u.References) != 10 {
		t.Errorf("merged: %+v", u)
	}
}

var errIndex = errors.New("the index is away")

type broken struct{}

func (broken) KIDs(exposure.Ref) ([]key.KID, error) { return nil, errIndex }

// A resolver that cannot answer ends the reading; what failed is not asked for.
func TestResolverFails(t *testing.T) {
	s := exposure.NewSummary(exposure.SummaryOptions{Resolver: broken{}})
	err := s.AddLog(exposure.Read(strings.NewReader(logs()["b.log"]), exposure.Options{Name: "b.log"}))
	if !errors.Is(err, errIndex) || strings.Contains(err.Error(), "sesame") {
		t.Errorf("error %v", err)
	}
	if r := s.Result(); len(r.Files) != 1 {
		t.Errorf("files %+v", r.Files)
	}
	add(t, s, exposure.Fetch{Time: start, Client: "c", URI: "/k", Status: 404})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDisk }

func TestTextFails(t *testing.T) {
	if err := exposure.NewSummary(exposure.SummaryOptions{}).Result().WriteText(full{}); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}

// The estimate takes in the clients that were listed before there was no room, and
// those that another summary could not list.
func TestEstimateOfAll(t *testing.T) {
	small := exposure.NewSummary(exposure.SummaryOptions{Pairs: 500})
	for i := range 1000 {
		add(t, small, got(1, fmt.Sprint("client ", i), i))
	}
	merged := exposure.NewSummary(exposure.SummaryOptions{})
	add(t, merged, got(1, "client of another log", 1))
	merged.Merge(small)
	for _, s := range []*exposure.Summary{small, merged} {
		if k, _ := s.Key(kid(1)); math.Abs(float64(k.Clients)-1000) > 50 || !k.Estimated {
			t.Errorf("%d clients of 1000: %+v", k.Clients, k)
		}
	}
}

// Of two last fetches at one time the same agent and address stay in any order.
func TestSameTime(t *testing.T) {
	a, b, c := got(1, "x", 1), got(1, "x", 1), got(1, "x", 1)
	b.Agent, c.Agent = "phone", "phone"
	c.Address = "192.0.2.1"
	for _, same := range [][][]exposure.Fetch{
		{{a, b}, {b, a}},
		{{b, c}, {c, b}},
		{{a, b, c}, {c, b, a}, {b, a, c}, {b, c, a}, {c, a, b}, {a, c, b}},
	} {
		first := ""
		for _, order := range same {
			s := exposure.NewSummary(exposure.SummaryOptions{})
			add(t, s, order...)
			if first == "" {
				first = shape(t, s)
			}
			if got := shape(t, s); got != first {
				t.Errorf("%s\nand\n%s", got, first)
			}
		}
	}
}

// What clients call themselves does not reach a terminal as it is.
func TestTextIsPrintable(t *testing.T) {
	s := exposure.NewSummary(exposure.SummaryOptions{})
	for _, evil := range []string{"\x1b[31mred", "a\tb", "two\nlines", "\u202edne", "\xff\xfe", "\u009b2J"} {
		f := got(1, evil, 1)
		f.Agent, f.Address = evil+"!", evil+"?"
		add(t, s, f)
	}
	l := exposure.Read(strings.NewReader(sampleCommon), exposure.Options{Name: "a\x1b[2J.log"})
	if err := s.AddLog(l); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := s.Result().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "\x1b\t\u202e\u009b") || !utf8.ValidString(text.String()) || strings.Count(text.String(), "\n") != 10 {
		t.Errorf("%q", text.String())
	}
}
