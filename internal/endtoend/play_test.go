package endtoend

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// player follows manifests as a viewer does and decrypts all they lead to, with
// the keys they name and no others.
type player struct {
	media store.Reader
	// keys is the licence server: CENC keys by KID. Keys of AES-128 are fetched
	// from where the playlist says.
	keys func(context.Context, key.KID) (key.ContentKey, error)
}

func (l *lab) player(e *rotation.Engine) player {
	return player{media: l.media, keys: func(ctx context.Context, k key.KID) (key.ContentKey, error) {
		return e.Ring.Unwrap(ctx, k, keyring.Deliver, "")
	}}
}

// play returns the SHA-256 of the clear form of every segment, by the name that
// the segment had before any rotation.
func (p player) play(ctx context.Context, entry string) (map[string]string, error) {
	a, err := catalog.Walk(ctx, p.media, entry, []string{entry}, catalog.Options{})
	if err != nil {
		return nil, err
	}
	if len(a.Refusals) > 0 {
		return nil, fmt.Errorf("%s: %v", entry, a.Refusals)
	}
	sums := map[string]string{}
	for _, t := range a.Tracks {
		if err := p.track(ctx, a, t, sums); err != nil {
			return nil, fmt.Errorf("%s leads to %w", entry, err)
		}
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("%s leads to no segment", entry)
	}
	return sums, p.named(ctx, a)
}

func (p player) track(ctx context.Context, a *catalog.Asset, t catalog.Track, sums map[string]string) error {
	open, err := p.opener(ctx, a, t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.ID, err)
	}
	for _, s := range t.Segments {
		b, _, err := store.ReadAll(ctx, p.media, s.Key, "", 64<<20, nil)
		if err != nil {
			return err
		}
		plain, err := open(s, b)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Key, err)
		}
		sum := sha256.Sum256(plain)
		sums[catalog.Logical(s.Key)] = hex.EncodeToString(sum[:])
	}
	return nil
}

func (p player) opener(ctx context.Context, a *catalog.Asset, t catalog.Track) (func(catalog.Segment, []byte) ([]byte, error), error) {
	switch t.Format {
	case catalog.CENC:
		b, _, err := store.ReadAll(ctx, p.media, t.Init.Key, "", 1<<20, nil)
		if err != nil {
			return nil, err
		}
		in, err := cenc.ParseInit(t.Init.Key, b)
		if err != nil {
			return nil, err
		}
		keys := map[key.KID]key.ContentKey{}
		for _, k := range in.KIDs() {
			if keys[k], err = p.keys(ctx, k); err != nil {
				return nil, err
			}
		}
		d, err := cenc.NewDecrypter(in, keys, cenc.Options{})
		if err != nil {
			return nil, err
		}
		return func(s catalog.Segment, b []byte) ([]byte, error) {
			r, err := d.Segment(s.Key, b)
			return r.Clear, err
		}, nil
	case catalog.AES128:
		keys := map[key.KID][]byte{}
		for _, o := range a.Keys {
			b, _, err := store.ReadAll(ctx, p.media, o.Key, "", 16, nil)
			if err != nil {
				return nil, err
			}
			keys[o.KID] = b
		}
		return func(s catalog.Segment, b []byte) ([]byte, error) { return openTS(keys[s.KID], s.IV, b) }, nil
	default:
		return nil, fmt.Errorf("track is %s", t.Format)
	}
}

// openTS is RFC 8216 §4.3.2.4 (AES-128, CBC, PKCS #7) by the standard library.
func openTS(k []byte, iv key.IV, b []byte) ([]byte, error) {
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || len(b)%aes.BlockSize != 0 {
		return nil, errors.New("not whole blocks")
	}
	out := make([]byte, len(b))
	cipher.NewCBCDecrypter(block, iv[:]).CryptBlocks(out, b)
	n := int(out[len(out)-1])
	if n == 0 || n > aes.BlockSize || !bytes.Equal(out[len(out)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errors.New("bad padding: the playlist names another key")
	}
	return out[:len(out)-n], nil
}

// named wants every key that an HLS playlist names for CENC to be a key of the
// tracks it leads to; of an MPD the walk has checked default_KID.
func (p player) named(ctx context.Context, a *catalog.Asset) error {
	used := a.KIDs()
	for _, m := range a.Manifests {
		if m.Kind != catalog.HLS {
			continue
		}
		b, _, err := store.ReadAll(ctx, p.media, m.Key, "", 1<<20, nil)
		if err != nil {
			return err
		}
		list, err := hls.Parse(m.Key, b)
		if err != nil {
			return err
		}
		for _, ref := range list.Refs {
			if ref.Key == nil || ref.Key.KeyID == "" {
				continue
			}
			iv, err := key.ParseIV(ref.Key.KeyID)
			if err != nil {
				return fmt.Errorf("%s line %d: %w", m.Key, ref.Line, err)
			}
			if !slices.Contains(used, key.KID(iv)) {
				return fmt.Errorf("%s line %d names key %s, which its media is not under", m.Key, ref.Line, ref.Key.KeyID)
			}
		}
	}
	return nil
}

// truth is what every segment of the entries decrypts to before anything
// begins. The clip's digests are those of the clear media that FFmpeg wrote.
func truth(t *testing.T, ctx context.Context, p player, entries ...string) map[string]string {
	t.Helper()
	want := map[string]string{}
	for _, e := range entries {
		sums, err := p.play(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(want, sums)
	}
	for name, sum := range fixtures.ClearSHA256() {
		if got, ok := want[name]; ok && got != sum {
			t.Errorf("%s does not decrypt to its clear media", name)
		}
	}
	return want
}

// plays wants an entry manifest to lead to the media it always led to.
func (p player) plays(ctx context.Context, entry string, want map[string]string) error {
	sums, err := p.play(ctx, entry)
	if err != nil {
		return err
	}
	for name, sum := range sums {
		if want[name] != sum {
			return fmt.Errorf("%s leads to %s, which does not decrypt to what it was", entry, name)
		}
	}
	return nil
}

// frozen is the media root of a viewer who fetched one manifest earlier.
type frozen struct {
	store.Reader
	key  string
	body []byte
	info store.Info
}

func (f frozen) Get(ctx context.Context, k string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	if k == f.key {
		return f.info, io.NopCloser(bytes.NewReader(f.body)), nil
	}
	return f.Reader.Get(ctx, k, o)
}
