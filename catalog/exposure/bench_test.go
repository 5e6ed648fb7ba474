package exposure_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
)

// combinedLines writes a log as it is read: nothing of it is kept. No two lines are
// alike; clients is how many different ones come.
type combinedLines struct {
	left, n, clients int
	buffer           bytes.Buffer
}

func (g *combinedLines) Read(p []byte) (int, error) {
	for g.buffer.Len() < len(p) && g.left > 0 {
		g.left--
		b := g.buffer.AvailableBuffer()
		c := g.n % g.clients
		b = append(b, "198."...)
		b = strconv.AppendInt(b, int64(c>>16&255), 10)
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(c>>8&255), 10)
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(c&255), 10)
		b = append(b, " - - [10/Mar/2026:"...)
		b = start.Add(time.Duration(g.n)*time.Second).AppendFormat(b, time.TimeOnly)
		b = append(b, ` +0000] "GET /keys/`...)
		b = strconv.AppendInt(b, int64(g.n%2+1), 10)
		b = append(b, ".key?token="...)
		b = strconv.AppendInt(b, int64(g.n), 10)
		b = append(b, ` HTTP/2.0" 200 16 "https://tv.example/" "Mozilla/5.0 (X11; Linux x86_64) Player/1.0"`+"\n"...)
		g.buffer.Write(b)
		g.n++
	}
	return g.buffer.Read(p)
}

// A log of a million lines takes no more memory than one of ten thousand.
func TestMemoryIsFlat(t *testing.T) {
	const lines, clients = 1_000_000, 1000
	peakOf := func(lines int) (peak uint64, s *exposure.Summary) {
		s = exposure.NewSummary(exposure.SummaryOptions{Resolver: resolver(t)})
		l := exposure.Read(&combinedLines{left: lines, clients: clients}, exposure.Options{Name: "g"})
		n := 0
		for f, err := range l.All() {
			if err != nil {
				t.Fatal(err)
			}
			add(t, s, f)
			if n++; n%(lines/10) == 0 {
				peak = max(peak, live())
			}
		}
		if n != lines {
			t.Fatalf("%d of %d lines", n, lines)
		}
		return peak, s
	}
	before := live()
	small, s := peakOf(10_000)
	runtime.KeepAlive(s)
	large, s := peakOf(lines)
	t.Logf("live heap: %d KiB before, %d KiB with 10,000 lines, %d KiB with %d", before>>10, small>>10, large>>10, lines)
	if large > small+1<<20 {
		t.Errorf("live heap %d B with %d lines, %d B with 10,000", large, lines, small)
	}
	if r := s.Result(); len(r.Keys) != 2 || r.Keys[0].Clients != clients/2 || r.Keys[0].Fetches != lines/2 {
		t.Errorf("result %+v", r.Keys)
	}
}

// Beyond the bound of pairs more clients take no more memory.
func TestMemoryIsBounded(t *testing.T) {
	const lines, pairs = 200_000, 1000
	before := live()
	s := exposure.NewSummary(exposure.SummaryOptions{Resolver: resolver(t), Pairs: pairs})
	if err := s.AddLog(exposure.Read(&combinedLines{left: lines, clients: lines}, exposure.Options{})); err != nil {
		t.Fatal(err)
	}
	grown := int64(live()) - int64(before)
	k := s.Result().Keys
	t.Logf("%d KiB for %d clients, of which %d are listed", grown>>10, lines, pairs)
	if grown > 2<<20 {
		t.Errorf("%d B live", grown)
	}
	if n := k[0].Listed + k[1].Listed; n != pairs || k[0].Fetches+k[1].Fetches != lines {
		t.Errorf("%d listed, result %+v", n, k)
	}
}

// live is the heap that is in use after a collection.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLines compares what a line costs to split, to read and to add up; the
// first is bufio.Scanner alone.
func BenchmarkLines(b *testing.B) {
	const lines = 100_000
	log, err := io.ReadAll(&combinedLines{left: lines, clients: 5000})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, once func() int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				if n := once(); n != lines {
					b.Fatalf("%d lines", n)
				}
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
	run("scanner", func() int {
		n := 0
		for s := bufio.NewScanner(bytes.NewReader(log)); s.Scan(); n++ {
		}
		return n
	})
	run("read", func() int {
		n := 0
		for _, err := range exposure.Read(bytes.NewReader(log), exposure.Options{}).All() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		return n
	})
	run("summary", func() int {
		s := exposure.NewSummary(exposure.SummaryOptions{Resolver: resolver(b)})
		if err := s.AddLog(exposure.Read(bytes.NewReader(log), exposure.Options{})); err != nil {
			b.Fatal(err)
		}
		return int(s.Result().Files[0].Fetches)
	})
}

// A client that is kept keeps none of the line it was read from.
func TestMemoryOfLongLines(t *testing.T) {
	const lines, length = 500, 64 << 10
	before := live()
	s := exposure.NewSummary(exposure.SummaryOptions{Resolver: resolver(t)})
	referer := strings.Repeat("r", length)
	for i := range lines {
		line := fmt.Sprintf("client-%d - - [10/Mar/2026:00:00:00 +0000] \"GET /other/%d HTTP/1.1\" 200 16 \"%s\" \"agent %d\"\n", i, i, referer, i)
		line += fmt.Sprintf("client-%d - - [10/Mar/2026:00:00:00 +0000] \"GET /keys/1.key HTTP/1.1\" 200 16 \"%s\" \"agent %d\"\n", i, referer, i)
		if err := s.AddLog(exposure.Read(strings.NewReader(line), exposure.Options{})); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(live()) - int64(before); grown > 4<<20 {
		t.Errorf("%d B live for %d clients", grown, lines)
	}
	if k, _ := s.Key(kid(1)); k.Clients != lines {
		t.Errorf("%+v", k)
	}
}
