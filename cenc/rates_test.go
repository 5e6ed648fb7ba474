package cenc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// claim is what the evidence of one run says.
type claim struct {
	verdict evidence.Verdict
	log10   float64 // of the chance of a miss that is claimed
	bytes   int64
}

// judge decrypts m with keys. What a File refuses as wrong or as clear is wrong.
func judge(t testing.TB, m media, keys map[key.KID]key.ContentKey) claim {
	t.Helper()
	f, err := OpenFile(m.name, strings.NewReader(string(m.file)), int64(len(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.Decrypt(keys, FileOptions{})
	c := claim{res.Evidence.Verdict(), res.Evidence.ForLog10, res.Evidence.Bytes}
	switch {
	case errors.Is(err, ErrWrongKey), errors.Is(err, ErrClear):
		c.verdict = evidence.Wrong
	case errors.Is(err, ErrUnsupported): // cens: it can't tell how tails are read
		c = claim{verdict: evidence.Undecided}
	case err != nil:
		t.Fatalf("%s: %v", m.name, err)
	}
	return c
}

// rates counts verdicts of media of one codec.
type rates struct {
	files, runs  int
	right, wrong [3]int // by verdict: with the right key, with wrong ones
	weak, strong float64
	bytes        int64
	below        [2]int // wrong keys that claim less than 0.1 and 0.01
}

// moderate are claims that chance reaches often enough to be counted.
var moderate = [2]float64{0.1, 0.01}

func (r *rates) addRight(c claim) {
	if r.files == 0 {
		r.weak = math.Inf(-1)
	}
	r.files++
	r.right[c.verdict]++
	r.bytes += c.bytes
	r.weak, r.strong = max(r.weak, c.log10), min(r.strong, c.log10)
}

func (r *rates) addWrong(c claim) {
	r.runs++
	r.wrong[c.verdict]++
	for i, p := range moderate {
		if c.verdict != evidence.Wrong && c.log10 < math.Log10(p) {
			r.below[i]++
		}
	}
}

// calibrated: no more claims below p than twice what p says, and what chance adds.
func (r *rates) calibrated(t *testing.T, name string) {
	t.Helper()
	for i, p := range moderate {
		if n := float64(r.runs) * p * 2; float64(r.below[i]) > n+3*math.Sqrt(n)+1 {
			t.Errorf("%s: %d of %d wrong keys claim a chance below %v", name, r.below[i], r.runs, p)
		}
	}
}

// TestRates measures false alarms and misses on all real media, by codec: the
// right key is never wrong, no wrong key is ever right, and what the evidence
// claims is no less than what chance does.
func TestRates(t *testing.T) {
	each := envNumber(t, "REKEY_RATES", 20)
	table := map[string]*rates{}
	for _, m := range wholeMedia(t) {
		if m.refuse != "" {
			continue
		}
		name := mediaCodec(t, m)
		r := table[name]
		if r == nil {
			r = &rates{}
			table[name] = r
		}
		c := judge(t, m, m.keys)
		if r.addRight(c); c.verdict == evidence.Wrong {
			t.Errorf("%s: false alarm", m.name)
		}
		for range each {
			wrong := map[key.KID]key.ContentKey{}
			for kid := range m.keys {
				wrong[kid] = key.NewContentKey()
			}
			c := judge(t, m, wrong)
			if r.addWrong(c); c.verdict == evidence.Right {
				t.Errorf("%s: a wrong key is right, by 10^%.1f", m.name, c.log10)
			}
		}
	}
	t.Logf("%-12s %5s %9s  %-22s  %-14s  %6s  %-22s  %s", "codec", "files", "bytes", "right key: right/un/wrong", "claims 10^", "runs", "wrong keys: right/un/wrong", "below 0.1, 0.01")
	for _, name := range slices.Sorted(maps.Keys(table)) {
		r := table[name]
		t.Logf("%-12s %5d %9d  %3d/%d/%d  %8.1f to %.1f  %6d  %d/%d/%d  %v", name, r.files, r.bytes,
			r.right[evidence.Right], r.right[evidence.Undecided], r.right[evidence.Wrong], r.weak, r.strong,
			r.runs, r.wrong[evidence.Right], r.wrong[evidence.Undecided], r.wrong[evidence.Wrong], r.below)
		r.calibrated(t, name)
	}
	if len(table) < 6 {
		t.Errorf("only %d codecs", len(table))
	}
}

func mediaCodec(t testing.TB, m media) string {
	t.Helper()
	f, err := OpenFile(m.name, strings.NewReader(string(m.file)), int64(len(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range f.Init().Tracks() {
		names = append(names, x.Codec+" "+x.Scheme)
	}
	return strings.Join(names, "+")
}

// TestPooledClaims: the evidence of many objects, added up, claims no more than
// what chance does. The objects are what wrong keys make of media: random bytes,
// in NAL units whose lengths and headers are clear, or in whole samples. Objects
// of a few samples are what low latency packagers write.
func TestPooledClaims(t *testing.T) {
	for _, c := range []struct {
		name    string
		codec   codec
		samples int // of one object
		size    int
		objects int
	}{
		{"h264 of one frame", codec{ruleH264, 4}, 1, 200, 3000},
		{"h264 of a few frames", codec{ruleH264, 4}, 12, 100, 600},
		{"h264 of many frames", codec{ruleH264, 4}, 60, 100, 60},
		{"aac of one frame", codec{ruleAAC, 0}, 1, 100, 60},
		{"aac of a few frames", codec{ruleAAC, 0}, 8, 100, 20},
		{"aac of many frames", codec{ruleAAC, 0}, 94, 100, 3},
		{"no rule, a few frames", codec{}, 3, 40, 2000},
		{"no rule, many frames", codec{}, 60, 40, 1000},
		{"no rule, very many frames", codec{}, 250, 40, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, uint64(c.samples+c.size)))
			rate := rates{}
			data := make([]byte, c.size)
			for range envNumber(t, "REKEY_RATES", 20) {
				var sum evidence.Evidence
				for range c.objects {
					var y tally
					for range c.samples {
						y.lookRandom(r, c.codec, data)
					}
					sum.Add(y.weigh())
				}
				rate.addWrong(claim{sum.Verdict(), sum.ForLog10, sum.Bytes})
			}
			if n := rate.wrong[evidence.Right]; n > 0 {
				t.Errorf("%d of %d wrong keys are right", n, rate.runs)
			}
			rate.calibrated(t, c.name)
			t.Logf("right/undecided/wrong %v, below 0.1 and 0.01 %v", fmt.Sprint(rate.wrong[1], rate.wrong[0], rate.wrong[2]), rate.below)
		})
	}
}

// lookRandom takes a sample of random bytes, as transform would.
func (y *tally) lookRandom(r *rand.Rand, c codec, data []byte) {
	for i := 0; i+8 <= len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], r.Uint64())
	}
	from := 0
	if c.rule == ruleH264 {
		binary.BigEndian.PutUint32(data, uint32(len(data)-4))
		data[4] = 0x65
		from = 16
	}
	y.look(c, data, []span{{from, len(data)}}, len(data)-from)
	var unique [16]byte
	binary.LittleEndian.PutUint64(unique[:], r.Uint64())
	y.first.add(data[from], unique[:])
}
