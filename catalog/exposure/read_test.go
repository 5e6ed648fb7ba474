package exposure_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog/exposure"
	"github.com/seed-6133abe0/rekey/keyring"
)

// Good lines count whatever stands between them, and each bad one is named.
func TestBadLines(t *testing.T) {
	lines := []string{sampleCommon, "garbage", sampleCombined, "", strings.Repeat("x", 1<<20+1), sampleCommon, `::1 - - [10/Mar`}
	got, r, err := readAll(strings.Join(lines, "\n"), exposure.Options{Name: "a.log"})
	if err != nil || len(got) != 3 {
		t.Fatalf("%d fetches, %v", len(got), err)
	}
	if r.Lines != 6 || r.Bad != 3 || r.Fetches != 3 {
		t.Errorf("report %+v", r)
	}
	var at []int64
	for _, p := range r.Problems {
		at = append(at, p.Line)
		want := exposure.ErrSyntax
		if p.Line == 5 {
			want = exposure.ErrTooLong
		}
		if !errors.Is(p, want) || p.File != "a.log" || p.Reason == "" {
			t.Errorf("line %d: %v", p.Line, p)
		}
	}
	if !slices.Equal(at, []int64{2, 5, 7}) {
		t.Errorf("problems at lines %v", at)
	}
	if got, want := r.Problems[0].Error(), `read log "a.log" line 2: log line is malformed: there is no [time] before a quoted request`; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// Only the first few problems are kept, and none quotes the log.
func TestProblemsAreFew(t *testing.T) {
	secret := `192.0.2.7 - - [99/Mar/2026:20:55:36 +0000] "GET /k?token=sesame HTTP/1.1" 200 16`
	_, r, err := readAll(sampleCommon+"\n"+strings.Repeat(secret+"\n", 1000), exposure.Options{})
	if err != nil || r.Bad != 1000 || len(r.Problems) != 5 {
		t.Fatalf("%d bad, %d kept, %v", r.Bad, len(r.Problems), err)
	}
	_, _, err = readAll(strings.Repeat(secret+"\n", 9), exposure.Options{Format: exposure.Combined})
	for _, e := range []error{err, r.Problems[0]} {
		if strings.Contains(fmt.Sprintf("%v %+v", e, e), "sesame") {
			t.Errorf("%v quotes the log", e)
		}
	}
}

// A line of exactly the bound is a line; one byte more is not.
func TestLineBound(t *testing.T) {
	const bound = 1 << 20
	for _, end := range []string{"\n", "\r\n", ""} {
		for _, over := range []int{0, 1, 2, 1 << 16, 5 << 20} {
			line := sampleCommon + ` "-" "`
			line += strings.Repeat("a", bound+over-len(line)-1) + `"`
			got, r, err := readAll(sampleCommon+"\n"+line+end, exposure.Options{})
			want := 2
			if over > 0 {
				want = 1
			}
			if err != nil || len(got) != want || r.Lines != 2 || r.Bad != int64(2-want) {
				t.Errorf("%d over, end %q: %d fetches, %+v, %v", over, end, len(got), r, err)
			}
		}
	}
}

func TestSinceUntil(t *testing.T) {
	line := func(s string) string {
		return fmt.Sprintf(`{"time":%q,"client":"a","uri":"/k","status":200}`, s)
	}
	text := line("2026-03-10T00:00:00Z") + "\n" + line("2026-03-10T02:00:00+01:00") + "\n" + line("2026-03-10T02:00:00Z")
	for _, c := range []struct {
		since, until string
		want         int
	}{
		{"", "", 3}, {"2026-03-10T00:00:00Z", "", 3}, {"2026-03-10T00:00:00.001Z", "", 2},
		{"", "2026-03-10T02:00:00Z", 2}, {"", "2026-03-10T02:00:00.001Z", 3},
		{"2026-03-10T01:00:00Z", "2026-03-10T02:00:00Z", 1}, {"2027-01-01T00:00:00Z", "", 0},
	} {
		var o exposure.Options
		if c.since != "" {
			o.Since = at(t, c.since)
		}
		if c.until != "" {
			o.Until = at(t, c.until)
		}
		got, r, err := readAll(text, o)
		if err != nil || len(got) != c.want || r.Outside != int64(3-c.want) {
			t.Errorf("%q to %q: %d fetches, %+v, %v", c.since, c.until, len(got), r, err)
		}
	}
}

var errDisk = errors.New("the disk is gone")

// What ends a log is of a class, and what came before it stands.
func TestEndings(t *testing.T) {
	many := strings.Repeat(sampleCommon+"\n", 5000)
	packed := pack(t, many)
	flipped := []byte(packed)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	big := `{"Records":[` + eventGet + `,{"a":"` + strings.Repeat("x", 2<<20) + `"},` + eventGet + `]}`
	for _, c := range []struct {
		name, text string
		o          exposure.Options
		class      error
		least      int // fetches
	}{
		{"empty", "", exposure.Options{}, nil, 0},
		{"empty, packed", pack(t, ""), exposure.Options{}, nil, 0},
		{"heads alone", cloudFrontHead, exposure.Options{}, nil, 0},
		{"no records", `{"Records":[]}`, exposure.Options{}, nil, 0},
		{"two documents", `{"Records":[` + eventGet + `]}` + "\n" + `{"Records":[` + eventDecrypt + `],"x":{"y":[1]}}`, exposure.Options{}, nil, 2},
		{"unknown", "hello\nworld\n", exposure.Options{}, exposure.ErrFormat, 0},
		{"unknown JSON", `{"a":1}`, exposure.Options{}, exposure.ErrFormat, 0},
		{"binary", "\x7fELF\x00\x01\x02", exposure.Options{}, exposure.ErrFormat, 0},
		{"no such format", "", exposure.Options{Format: "iis"}, exposure.ErrFormat, 0},
		{"other format", sampleJSON, exposure.Options{Format: exposure.Combined}, exposure.ErrUnreadable, 0},
		{"no fields line", "#Version: 1.0\n1\t2\n", exposure.Options{}, exposure.ErrUnreadable, 0},
		{"too large", many, exposure.Options{MaxBytes: 100_000}, exposure.ErrTooLarge, 900},
		{"too large, packed", packed, exposure.Options{MaxBytes: 100_000}, exposure.ErrTooLarge, 900},
		{"as large as may be", many, exposure.Options{MaxBytes: int64(len(many))}, nil, 5000},
		{"gzip cut off", packed[:len(packed)-100], exposure.Options{}, exposure.ErrCorrupt, 1},
		{"gzip checksum", string(flipped), exposure.Options{}, exposure.ErrCorrupt, 4000},
		{"gzip head", packed[:5], exposure.Options{}, exposure.ErrCorrupt, 0},
		{"gzip of nothing", "\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff", exposure.Options{}, exposure.ErrCorrupt, 0},
		{"record too long", big, exposure.Options{}, exposure.ErrTooLong, 1},
		{"records cut off", `{"Records":[` + eventGet + `,` + eventGet[:40], exposure.Options{}, exposure.ErrCorrupt, 1},
		{"records not closed", `{"Records":[` + eventGet + `]`, exposure.Options{}, exposure.ErrCorrupt, 1},
		{"no list", `{"Records":{}}`, exposure.Options{}, exposure.ErrCorrupt, 0},
		{"records of numbers", `{"Records":[1,2]}`, exposure.Options{}, exposure.ErrUnreadable, 0},
		{"tail of another kind", `{"Records":[` + eventGet + `]} x`, exposure.Options{}, exposure.ErrCorrupt, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r, err := readAll(c.text, c.o)
			var e *exposure.Error
			switch {
			case c.class == nil && err != nil, !errors.Is(err, c.class), err != nil && !errors.As(err, &e):
				t.Errorf("error %v, want class %v", err, c.class)
			}
			if len(got) < c.least || c.class == nil && len(got) != c.least {
				t.Errorf("%d fetches, want %d", len(got), c.least)
			}
			if sum := r.Fetches + r.NotModified + r.Refused + r.Outside + r.Other + r.Bad; sum != r.Lines {
				t.Errorf("%d lines do not add up: %+v", r.Lines, r)
			}
		})
	}
}

// A reader that fails once is not read as a log that ends there.
func TestReaderFails(t *testing.T) {
	for _, text := range []string{"", "x", sampleCommon + "\n", strings.Repeat(sampleCommon+"\n", 2000)} {
		in := io.MultiReader(strings.NewReader(text), &failsOnce{})
		l := exposure.Read(in, exposure.Options{Format: exposure.Combined})
		var last error
		n := 0
		for _, err := range l.All() {
			n++
			last = err
		}
		if !errors.Is(last, errDisk) {
			t.Errorf("after %d bytes and %d fetches: %v", len(text), n, last)
		}
	}
}

type failsOnce struct{ done bool }

func (f *failsOnce) Read([]byte) (int, error) {
	if f.done {
		return 0, io.EOF
	}
	f.done = true
	return 0, errDisk
}

// However small the pieces that a reader gives, the log is the same.
func TestSmallReads(t *testing.T) {
	for _, c := range sampleCases(t) {
		l := exposure.Read(iotest.OneByteReader(strings.NewReader(pack(t, c.text))), exposure.Options{})
		n := 0
		for f, err := range l.All() {
			if err != nil || f != c.want {
				t.Errorf("%s: %+v, %v", c.name, f, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%s: %d fetches", c.name, n)
		}
	}
}

// Who has seen enough may stop, in lines and in records.
func TestStop(t *testing.T) {
	for _, text := range []string{
		strings.Repeat(sampleCommon+"\n", 10), `{"Records":[` + eventGet + `,` + eventGet + `]}`,
	} {
		l := exposure.Read(strings.NewReader(text), exposure.Options{})
		for _, err := range l.All() {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if r := l.Report(); r.Fetches != 1 {
			t.Errorf("read on: %+v", r)
		}
	}
}

// The words of an audit record are those of the packages that write it.
func TestAuditExport(t *testing.T) {
	var text strings.Builder
	x := audit.NewJSON(&text)
	when := time.Date(2026, 3, 10, 20, 55, 44, 0, time.UTC)
	uses := []keyring.Use{keyring.Encrypt, keyring.DecryptRekey, keyring.Deliver, keyring.Export, keyring.Verify}
	for i, use := range uses {
		action := audit.KeyUnwrap
		if use == keyring.Export {
			action = audit.KeyExport
		}
		for _, outcome := range []string{audit.Allowed, audit.Refused, audit.Failed} {
			e := audit.Entry{ID: fmt.Sprint(i), Record: audit.Record{Time: when, Actor: string(use), Origin: "192.0.2.1",
				Action: action, KID: kidText, Outcome: outcome, Reason: "use " + string(use)}}
			if err := x.Write(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	got, r, err := readAll(text.String(), exposure.Options{})
	if err != nil || r.Format != exposure.Audit || r.Lines != 15 || r.Other != 13 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(got) != 2 || got[0].Client != "deliver" || got[1].Client != "export" || got[0].KID != named(t) {
		t.Errorf("got %+v", got)
	}
}
