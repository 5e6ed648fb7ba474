package sampleaes

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// mux writes TS as plainly as it can be written, for what no packager makes.
type mux struct {
	out []byte
	cc  map[uint16]byte
}

type entry struct {
	kind        uint8
	pid         uint16
	descriptors string
}

const (
	pmtPID = 0x20
	indH   = "\x0f\x04zavc"
	indA   = "\x0f\x04aacd"
)

func newMux(entries ...entry) *mux {
	m := &mux{cc: map[uint16]byte{}}
	m.tables(entries...)
	return m
}

func (m *mux) tables(entries ...entry) {
	m.section(0, patSection(1))
	m.section(pmtPID, pmtSection(entries...))
}

func patSection(programs int) []byte {
	b := []byte{0, 1, 0xc1, 0, 0}
	b = append(b, 0, 0, 0xe0, 0x10) // network_PID
	for i := range programs {
		b = append(b, 0, byte(i+1), 0xe0, byte(pmtPID+i))
	}
	return seal(0, b)
}

func pmtSection(entries ...entry) []byte {
	b := []byte{0, 1, 0xc1, 0, 0, 0xe0, 0x50, 0xf0, 0}
	for _, e := range entries {
		b = append(b, e.kind, 0xe0|byte(e.pid>>8), byte(e.pid), 0xf0, byte(len(e.descriptors)))
		b = append(b, e.descriptors...)
	}
	return seal(2, b)
}

// seal puts table_id, section_length and CRC around b.
func seal(table byte, b []byte) []byte {
	s := append([]byte{table, 0xb0, byte(len(b) + 4)}, b...)
	return binary.BigEndian.AppendUint32(s, crc32MPEG(s))
}

func (m *mux) section(pid uint16, s []byte) {
	m.write(pid, append([]byte{0}, s...), 0xff)
}

// write writes a payload; pad >= 0 fills the last packet with that byte, else
// with an adaptation field.
func (m *mux) write(pid uint16, payload []byte, pad int) {
	for start := true; len(payload) > 0; start = false {
		h := []byte{syncByte, byte(pid >> 8), byte(pid), 0x10 | m.cc[pid]}
		m.cc[pid] = (m.cc[pid] + 1) & 15
		if start {
			h[1] |= 0x40
		}
		n := min(maxPayload, len(payload))
		body := bytes.Clone(payload[:n])
		payload = payload[n:]
		switch short := maxPayload - n; {
		case short > 0 && pad >= 0:
			body = append(body, bytes.Repeat([]byte{byte(pad)}, short)...)
		case short == 1:
			h[3] |= 0x20
			h = append(h, 0)
		case short > 1:
			h[3] |= 0x20
			h = append(h, byte(short-1), 0)
			h = append(h, bytes.Repeat([]byte{0xff}, short-2)...)
		}
		m.out = append(append(m.out, h...), body...)
	}
}

// pes writes a PES packet with a PTS and stuff bytes of stuffing in its header.
func (m *mux) pes(pid uint16, id byte, bounded bool, stuff int, payload []byte) {
	b := []byte{0, 0, 1, id, 0, 0, 0x80, 0x80, byte(5 + stuff), 0x21, 0, 1, 0, 1}
	b = append(b, bytes.Repeat([]byte{0xff}, stuff)...)
	b = append(b, payload...)
	if bounded {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-6))
	}
	m.write(pid, b, -1)
}

// refNAL encrypts a NAL unit word for word as the specification says.
func refNAL(k key.ContentKey, iv key.IV, nal []byte) []byte {
	out := bytes.Clone(nal)
	if t := nal[0] & 31; len(nal) <= 48 || t != 1 && t != 5 {
		return out
	}
	enc := cipher.NewCBCEncrypter(k.Block(), iv[:])
	at, remaining := 32, len(nal)-32
	for remaining > 0 {
		if remaining > 16 {
			enc.CryptBlocks(out[at:at+16], out[at:at+16])
			at, remaining = at+16, remaining-16
		}
		n := min(144, remaining)
		at, remaining = at+n, remaining-n
	}
	return refEscape(out)
}

func refEscape(b []byte) []byte {
	var out []byte
	zeros := 0
	for _, c := range b {
		if zeros == 2 && c <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, c)
		if zeros++; c != 0 {
			zeros = 0
		}
	}
	return out
}

// slice makes a clear NAL unit of n bytes with emulation prevention of its own.
func slice(r *rand.Rand, n int) []byte {
	b := []byte{0x65}
	for len(b) < n-1 {
		c := byte(r.Uint32())
		if r.IntN(4) == 0 {
			c = 0 // more to escape than real media has
		}
		b = append(b, c)
	}
	b = refEscape(append(b, 0x80))
	return append(b[:n-1], 0x80)
}

func testKeys() (key.Change, key.IV) {
	old, _ := key.ParseContentKey("00112233445566778899aabbccddeeff")
	iv, _ := key.ParseIV("0x11223344556677889900aabbccddeeff")
	return key.Change{Old: old, New: numberedKey(0)}, iv
}

func numberedKey(n int) key.ContentKey {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	k, _ := key.ContentKeyFromBytes(sum[:16])
	return k
}

func samples(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %q: %d files, %v", pattern, len(names), err)
	}
	files := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(n)] = b
	}
	return files
}

func media(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for _, p := range []string{"*.ts", "*.aac", "*.ac3", "*.ec3"} {
		for n, b := range samples(t, p) {
			all[n] = b
		}
	}
	return all
}

// digests are the SHA-256 of the clear packets as FFmpeg divides them.
func digests(t testing.TB) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(samples(t, "clear.sha256")["clear.sha256"])) {
		f := strings.Fields(line)
		out[f[1]] = f[0]
	}
	return out
}

// elementary is the elementary streams in a clear form.
func elementary(clear []byte) []byte {
	return clear[:binary.BigEndian.Uint64(clear[len(clear)-8:])]
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// checkTS walks a segment as a demultiplexer does: counters, PES lengths. It
// returns PCRs and payloads of one PID.
func checkTS(b []byte, pid uint16) (pcrs []string, pes [][]byte, err error) {
	last := -1
	for at := 0; at < len(b); at += packetSize {
		p := b[at : at+packetSize]
		if binary.BigEndian.Uint16(p[1:])&0x1fff != pid {
			continue
		}
		body := p[4:]
		if p[3]&0x20 != 0 {
			if n := int(p[4]); n > 0 && p[5]&0x10 != 0 {
				pcrs = append(pcrs, hex.EncodeToString(p[6:12]))
			}
			body = p[5+int(p[4]):]
		}
		if p[3]&0x10 == 0 {
			continue
		}
		if len(body) == 0 {
			return nil, nil, fmt.Errorf("%d: payload without bytes", at)
		}
		if cc := int(p[3] & 15); last >= 0 && cc != (last+1)&15 {
			return nil, nil, fmt.Errorf("%d: counter %d after %d", at, cc, last)
		}
		last = int(p[3] & 15)
		if p[1]&0x40 != 0 {
			pes = append(pes, nil)
		}
		pes[len(pes)-1] = append(pes[len(pes)-1], body...)
	}
	for i, p := range pes {
		if n := int(binary.BigEndian.Uint16(p[4:])); n != 0 && n != len(p)-6 {
			return nil, nil, fmt.Errorf("PES packet %d: PES_packet_length %d, %d bytes", i, n, len(p)-6)
		}
	}
	return pcrs, pes, nil
}
