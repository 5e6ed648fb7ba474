package sampleaes

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

const (
	videoPID = 0x50
	audioPID = 0x51
)

// growingKey finds a key under which a PES packet of a real segment grows, and
// which.
func growingKey(t testing.TB, name string, src []byte) (k key.ContentKey, unit int) {
	t.Helper()
	change, iv := testKeys()
	d := NewDecrypter(change.Old)
	if _, err := d.Segment(name, 0, iv, src); err != nil {
		t.Fatal(err)
	}
	s := &d.reader.streams[0]
	var plain []int
	for _, p := range s.protect {
		plain = append(plain, len(escape(d.reader.clear[s.base+p.from:s.base+p.to])))
	}
	for n := range 1 << 20 {
		k := numberedKey(n)
		c := newCiphers(k)
		for i, p := range s.protect {
			nal := bytes.Clone(d.reader.clear[s.base+p.from : s.base+p.to])
			c.encryptNAL(iv, nal)
			if len(escape(nal)) <= plain[i] {
				continue
			}
			unit, _ = slices.BinarySearch(s.clearEnds, p.from+1)
			// Other NAL units must not have been longer under the old key.
			if res, err := NewRekeyer(key.Change{Old: change.Old, New: k}).Segment(name, 0, iv, src); err != nil {
				t.Fatal(err)
			} else if s := res.Out; !bytes.Equal(s, src) && pesLengths(t, s)[unit] > pesLengths(t, src)[unit] {
				return k, unit
			}
		}
	}
	t.Fatal("no key makes it grow")
	return k, 0
}

func pesLengths(t testing.TB, b []byte) (n []int) {
	t.Helper()
	_, pes, err := checkTS(b, videoPID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pes {
		n = append(n, len(p))
	}
	return n
}

// stuffHeader moves the stuffing of the unit-th PES packet's last TS packet into
// its PES header, so that all its TS packets are full.
func stuffHeader(t testing.TB, b []byte, unit int) []byte {
	t.Helper()
	_, pes, err := checkTS(b, videoPID)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	n := -1
	for at := 0; at < len(b); at += packetSize {
		p := packet(b[at : at+packetSize])
		if p.pid() == videoPID && p.starts() {
			n++
		}
		if p.pid() != videoPID || n != unit {
			out = append(out, p...)
			continue
		}
		l, _ := p.parse()
		room := carrier{content: uint8(l.content)}.room()
		if p.starts() {
			free := 0
			for end := at; end < len(b); end += packetSize {
				q := packet(b[end : end+packetSize])
				if q.pid() == videoPID && q.starts() && end > at {
					break
				}
				if m, _ := q.parse(); q.pid() == videoPID {
					free += carrier{content: uint8(m.content)}.room() - (packetSize - m.payload)
				}
			}
			body := pes[unit]
			head := pesFixed + int(body[8])
			body = slices.Concat(body[:head], bytes.Repeat([]byte{0xff}, free), body[head:])
			body[8] += byte(free)
			if binary.BigEndian.Uint16(body[4:]) > 0 {
				binary.BigEndian.PutUint16(body[4:], uint16(len(body)-6))
			}
			pes[unit] = body
		}
		out = append(appendHead(out, p, l.content, room), pes[unit][:room]...)
		pes[unit] = pes[unit][room:]
	}
	if len(pes[unit]) != 0 || len(out) != len(b) {
		t.Fatal("does not fit")
	}
	return out
}

// rekeyed checks all that is said of a new segment, whose protected streams are
// video and, where it is muxed, audio.
func rekeyed(t *testing.T, name string, old, now key.ContentKey, at int64, src []byte) Result {
	t.Helper()
	_, iv := testKeys()
	res, err := NewRekeyer(key.Change{Old: old, New: now}).Segment(name, at, iv, src)
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewDecrypter(now).Segment(name, at, iv, res.Out)
	if err != nil || !bytes.Equal(again.Clear, res.Clear) {
		t.Fatalf("%s: not the same clear form: %v", name, err)
	}
	pcrs, pes, err := checkTS(res.Out, videoPID)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	was, oldPES, err := checkTS(src, videoPID)
	if err != nil || !slices.Equal(pcrs, was) || len(pes) != len(oldPES) {
		t.Fatalf("%s: PCRs %v, were %v: %v", name, pcrs, was, err)
	}
	// Without what was inserted, the packets are where they were.
	rest, more := bytes.Clone(res.Out), int64(0)
	for _, g := range res.Grown {
		from := g.At - at
		if g.By%(turn*packetSize) != 0 || g.By <= 0 || from%packetSize != 0 {
			t.Fatalf("growth %+v", g)
		}
		for i := int64(0); i < g.By; i += packetSize {
			p := packet(rest[from+i:])
			if l, reason := p.parse(); p.pid() != videoPID || p.starts() || l.payload == packetSize || reason != "" || l.content > 0 {
				t.Fatalf("inserted packet %x", p[:packetSize])
			}
		}
		rest = slices.Delete(rest, int(from), int(from+g.By))
		more += g.By
	}
	if len(res.Out) != len(src)+int(more) {
		t.Fatalf("%s: %d bytes, were %d, growth %d", name, len(res.Out), len(src), more)
	}
	for i := 0; i < len(src); i += packetSize {
		a, b := packet(src[i:i+packetSize]), packet(rest[i:i+packetSize])
		if a.pid() != b.pid() || a.counter() != b.counter() || a.starts() != b.starts() || a.pid() != videoPID && a.pid() != audioPID && !bytes.Equal(a, b) {
			t.Fatalf("%s: packet at %d is another", name, i)
		}
	}
	return res
}

// TestNALUnitsThatGrow: into stuffing, into inserted packets, and back.
func TestNALUnitsThatGrow(t *testing.T) {
	change, iv := testKeys()
	files := samples(t, "video-*.ts")
	src, next := files["video-1.ts"], files["video-2.ts"]
	k, unit := growingKey(t, "video-1.ts", src)
	full := stuffHeader(t, src, unit)
	for _, tt := range []struct {
		name string
		src  []byte
		at   int64
		by   []int64
	}{{"stuffing", src, 0, nil}, {"no stuffing", full, 1 << 33, []int64{turn * packetSize}}} {
		t.Run(tt.name, func(t *testing.T) {
			res := rekeyed(t, tt.name, change.Old, k, tt.at, tt.src)
			if len(res.Grown) != len(tt.by) {
				t.Fatalf("grown %+v", res.Grown)
			}
			if pesLengths(t, res.Out)[unit] <= pesLengths(t, tt.src)[unit] {
				t.Fatal("did not grow")
			}
			grown := bytes.Clone(res.Out)
			// The counters go on in the next segment.
			second := rekeyed(t, "next", change.Old, k, 0, next)
			sameButLast(t, ffmpegFrames(t, change.Old, iv, "ts", tt.src, next), ffmpegFrames(t, k, iv, "ts", grown, second.Out))
			// And back: it shrinks, in as many packets.
			back := rekeyed(t, "back", k, change.Old, 7, grown)
			if !slices.Equal(pesLengths(t, back.Out), pesLengths(t, tt.src)) || len(back.Out) != len(grown) {
				t.Error("did not shrink to what it was")
			}
			if tt.by == nil && !bytes.Equal(back.Out, tt.src) {
				t.Error("stuffing is not what it was")
			}
			sameButLast(t, ffmpegFrames(t, change.Old, iv, "ts", tt.src, next), ffmpegFrames(t, change.Old, iv, "ts", back.Out, next))
		})
	}
}

// TestGrowthOfAnySize: PES packets of all fillings, whose NAL units grow by all
// that real media never has to escape at once.
func TestGrowthOfAnySize(t *testing.T) {
	change, iv := testKeys()
	r := rand.New(rand.NewPCG(1, 2))
	inserted, turns := 0, 0
	for n := range 120 {
		m := newMux(entry{typeH264, videoPID, indH})
		for range 1 + r.IntN(3) {
			m.pes(videoPID, 0xe0, n%2 == 0, r.IntN(40), looseSlice(r, change.Old, iv, 100+r.IntN(20000)))
		}
		res := rekeyed(t, "made", change.Old, numberedKey(n), int64(n), m.out)
		if len(res.Findings) != 1 {
			t.Fatalf("findings %v", res.Findings)
		}
		inserted += len(res.Grown)
		for _, g := range res.Grown {
			turns = max(turns, int(g.By/packetSize/turn))
		}
		if again := rekeyed(t, "made", numberedKey(n), change.Old, 0, bytes.Clone(res.Out)); len(again.Findings) > 0 {
			t.Fatalf("findings %v", again.Findings)
		}
	}
	if inserted < 50 || turns < 2 {
		t.Errorf("%d growths, of up to %d turns", inserted, turns)
	}
}

// looseSlice is a stored NAL unit whose producer escaped nothing: clear parts are
// full of 000002, which all is escaped again.
func looseSlice(r *rand.Rand, k key.ContentKey, iv key.IV, n int) []byte {
	for {
		nal := []byte{0x65}
		for len(nal) < n {
			nal = append(nal, byte(4+r.IntN(252)))
		}
		for at := clearLeader + 16; at+143 < n-16; at += pattern {
			for i := 3; i < 138; i += 3 {
				copy(nal[at+i:], []byte{0, 0, 2})
			}
		}
		copy(nal[3:], []byte{0, 0, 2})
		newCiphers(k).encryptNAL(iv, nal)
		if !bytes.Contains(nal, []byte{0, 0, 1}) && !bytes.Contains(nal, []byte{0, 0, 3}) && !bytes.Contains(nal, []byte{0, 0, 0}) {
			return append([]byte{0, 0, 0, 1}, nal...)
		}
	}
}

func TestPESLength(t *testing.T) {
	for _, tt := range []struct {
		id        byte
		now, grow int
		want      int
		refused   bool
	}{{0xe0, 0, 5, 0, false}, {0xe0, 100, 5, 105, false}, {0xe0, 100, -5, 95, false}, {0xe0, 65530, 5, 65535, false},
		{0xe0, 65530, 6, 0, false}, {0xef, 65535, 1, 0, false}, {0xfd, 65535, 1, 0, true}, {0xbd, 65535, -1, 65534, false}} {
		s := &stream{heads: []byte{0, 0, 1, tt.id, byte(tt.now >> 8), byte(tt.now), 0x80, 0, 0}}
		reason := s.setLength(&unit{head: span{0, 9}}, tt.grow)
		if got := int(binary.BigEndian.Uint16(s.heads[4:])); (reason != "") != tt.refused || reason == "" && got != tt.want {
			t.Errorf("%+v: %d, %q", tt, got, reason)
		}
	}
}
