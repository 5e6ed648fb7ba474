package cenc

import (
	"bytes"
	"crypto/cipher"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/seed-6133abe0/rekey/key"
)

// big is an encrypted segment of about 10 MB: FFmpeg made the media and mp4ff
// encrypted it.
type big struct {
	init, segment []byte
	kid           key.KID
	key           [16]byte
}

// newBig makes one fragment of 8 seconds of noisy 720p.
func newBig(b testing.TB, scheme string) big {
	b.Helper()
	clear := filepath.Join(b.TempDir(), "clear.mp4")
	cmd := exec.Command(needFFmpeg(b), "-nostdin", "-v", "error", "-f", "lavfi",
		"-i", "testsrc2=size=1280x720:rate=25:duration=8,noise=alls=30:allf=t",
		"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "9M", "-g", "50",
		"-movflags", "+frag_custom+empty_moov+default_base_moof", clear)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(clear)
	if err != nil {
		b.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(raw))
	if err != nil {
		b.Fatal(err)
	}
	g := big{kid: key.NewKID(), key: key.NewContentKey().RevealSecretBytes()}
	protect, err := mp4.InitProtect(f.Init, g.key[:], benchIV(scheme), scheme, g.kid[:], nil)
	if err != nil {
		b.Fatal(err)
	}
	var fragments []*mp4.Fragment
	for _, s := range f.Segments {
		fragments = append(fragments, s.Fragments...)
	}
	if _, err := mp4.EncryptFragments(fragments, g.key[:], benchIV(scheme), protect); err != nil {
		b.Fatal(err)
	}
	g.init = encode(b, f.Init)
	for _, s := range f.Segments {
		g.segment = append(g.segment, encode(b, s)...)
	}
	return g
}

func encode(t testing.TB, x interface{ Encode(w io.Writer) error }) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := x.Encode(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func (g big) rekeyer(b testing.TB) *Rekeyer {
	b.Helper()
	in, err := ParseInit("init.mp4", g.init)
	if err != nil {
		b.Fatal(err)
	}
	old, err := key.ContentKeyFromBytes(g.key[:])
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewRekeyer(in, key.Changes{g.kid: {Old: old, New: key.NewContentKey(), NewKID: key.NewKID()}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// benchIV: mp4ff takes 8 bytes for cenc, and the constant IV of cbcs.
func benchIV(scheme string) []byte {
	if scheme == "cbcs" {
		return []byte("a constant IV 16")
	}
	return []byte("8-bytesI")
}

// schemes runs a benchmark for each scheme that mp4ff has too.
func schemes(b *testing.B, run func(b *testing.B, g big, scheme string)) {
	for _, scheme := range []string{"cenc", "cbcs"} {
		g := newBig(b, scheme)
		b.Run(scheme, func(b *testing.B) {
			b.SetBytes(int64(len(g.segment)))
			b.ReportAllocs()
			run(b, g, scheme)
		})
	}
}

// BenchmarkPatch is the bare transform, in place: scan, decrypt, encrypt, IVs.
func BenchmarkPatch(b *testing.B) {
	schemes(b, func(b *testing.B, g big, _ string) {
		r := g.rekeyer(b)
		buf := bytes.Clone(g.segment)
		for b.Loop() {
			if err := r.patch(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func (r *Rekeyer) patch(buf []byte) error {
	r.begin()
	if err := r.seg.scan(r.in, "segment", buf); err != nil {
		return err
	}
	if _, err := r.prepare(r.seg.samples, 0, buf); err != nil {
		return err
	}
	for i := range r.seg.samples {
		sm := &r.seg.samples[i]
		r.fill(&r.seg, sm)
		data, k, scheme := buf[sm.data:sm.end()], r.use[sm.prot], r.seg.prots[sm.prot].scheme
		r.msg.decrypt(k.old, scheme, data, data)
		r.encrypt(sm, k.new, buf, data, sm.data, Place{})
	}
	r.batch.flush(buf)
	r.putIVs(r.seg.samples, buf, 0, Place{}, false)
	return nil
}

// BenchmarkRekey is the whole pass: decrypt, evidence, encrypt, decrypt again
// and compare.
func BenchmarkRekey(b *testing.B) {
	schemes(b, func(b *testing.B, g big, _ string) {
		r := g.rekeyer(b)
		for b.Loop() {
			if _, err := r.Segment(Place{}, g.segment); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMP4FF is what mp4ff's own functions need for the same segment,
// without verification: parse, decrypt, encrypt. Writing is left out.
func BenchmarkMP4FF(b *testing.B) {
	schemes(b, func(b *testing.B, g big, scheme string) {
		both := append(bytes.Clone(g.init), g.segment...)
		for b.Loop() {
			g.mp4ff(b, both, scheme)
		}
	})
}

// BenchmarkMP4FFBytes is the same from bytes to bytes, as the patch is.
func BenchmarkMP4FFBytes(b *testing.B) {
	schemes(b, func(b *testing.B, g big, scheme string) {
		both := append(bytes.Clone(g.init), g.segment...)
		out := bytes.NewBuffer(make([]byte, 0, len(both)+1<<16))
		for b.Loop() {
			out.Reset()
			for _, s := range g.mp4ff(b, both, scheme).Segments {
				if err := s.Encode(out); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkLimit is the standard library's AES alone, over as many bytes as are
// encrypted: CTR twice, or single blocks there and back.
func BenchmarkLimit(b *testing.B) {
	schemes(b, func(b *testing.B, g big, scheme string) {
		r := g.rekeyer(b)
		if _, err := r.Segment(Place{}, g.segment); err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, r.protected)
		block := key.NewContentKey().Block()
		for b.Loop() {
			if scheme == "cenc" {
				cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(buf, buf)
				cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(buf, buf)
				continue
			}
			for i := 0; i+16 <= len(buf); i += 16 {
				block.Decrypt(buf[i:i+16], buf[i:i+16])
			}
			for i := 0; i+16 <= len(buf); i += 16 {
				block.Encrypt(buf[i:i+16], buf[i:i+16])
			}
		}
	})
}

func (g big) mp4ff(b *testing.B, both []byte, scheme string) *mp4.File {
	f, err := mp4.DecodeFile(bytes.NewReader(both))
	if err != nil {
		b.Fatal(err)
	}
	info, err := mp4.DecryptInit(f.Init)
	if err != nil {
		b.Fatal(err)
	}
	protect, err := mp4.InitProtect(f.Init, g.key[:], benchIV(scheme), scheme, g.kid[:], nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range f.Segments {
		if err := mp4.DecryptSegment(s, info, g.key[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := mp4.EncryptFragments(s.Fragments, g.key[:], benchIV(scheme), protect); err != nil {
			b.Fatal(err)
		}
	}
	return f
}
