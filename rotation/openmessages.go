package rotation

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls/aes128"
	"github.com/seed-6133abe0/rekey/hls/sampleaes"
	"github.com/seed-6133abe0/rekey/key"
)

// decryptFunc decrypts one message of an object.
type decryptFunc func(object string, m catalog.Message, k key.ContentKey, src []byte) (opened, error)

func decrypters(f catalog.Format) decryptFunc {
	if f == catalog.SampleAES {
		return func(object string, m catalog.Message, k key.ContentKey, src []byte) (opened, error) {
			r, err := sampleaes.NewDecrypter(k).Segment(object, m.Offset, m.IV, src)
			if m.UnknownIV {
				r.Evidence = evidence.Evidence{Bytes: r.Evidence.Bytes}
			}
			return opened{clear: r.Clear, evidence: r.Evidence, stored: r.Stored}, err
		}
	}
	return func(object string, m catalog.Message, k key.ContentKey, src []byte) (opened, error) {
		r, err := aes128.NewDecrypter(k).Message(object, m.Offset, m.IV, src)
		return opened{clear: r.Clear, evidence: r.Evidence}, err
	}
}

// openMessages decrypts the messages of an object whose keys are at hand, and
// allowed by only; what is under others stays as it is in the clear form, as it
// does in a worker's.
func openMessages(decrypt decryptFunc, s catalog.Segment, b []byte, keys map[key.KID]key.ContentKey, only map[key.KID]bool) (opened, error) {
	var all opened
	all.kids = map[key.KID]key.ContentKey{}
	parts := s.Parts()
	for _, m := range parts {
		if m.Offset < 0 || m.Length < 0 || m.Offset > int64(len(b)) || m.Length > int64(len(b))-m.Offset {
			return all, fmt.Errorf("byte range %d@%d goes past its end at %d", m.Length, m.Offset, len(b))
		}
		src := b[m.Offset : m.Offset+m.Length]
		k, ok := keys[m.KID]
		if !ok || only != nil && !only[m.KID] {
			all.clear = append(all.clear, src...)
			continue
		}
		r, err := decrypt(s.Key, m, k, src)
		all.evidence.Add(r.evidence)
		all.stored.Add(r.stored)
		if err != nil {
			return all, err
		}
		all.kids[m.KID] = k
		if len(parts) == 1 {
			all.clear = r.clear
			return all, nil
		}
		all.clear = append(all.clear, r.clear...)
	}
	return all, nil
}
