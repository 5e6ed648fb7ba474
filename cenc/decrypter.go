package cenc

import "github.com/seed-6133abe0/rekey/key"

// Decrypter gives the canonical clear form of segments.
type Decrypter struct{ pass }

// NewDecrypter returns a Decrypter for in, with the keys it has. Samples of
// other KIDs stay as they are; Kept of the Result names them.
func NewDecrypter(in *Init, ks map[key.KID]key.ContentKey, o Options) (*Decrypter, error) {
	if err := in.Supported(); err != nil {
		return nil, err
	}
	d := &Decrypter{newPass(in, o.Readings)}
	return d, d.addKeys(ks)
}

func (p *pass) addKeys(ks map[key.KID]key.ContentKey) error {
	for kid, k := range ks {
		if k.IsZero() {
			return p.in.missing(kid, "no key")
		}
		p.keys[kid] = &change{old: newCiphers(k.Block())}
	}
	return nil
}

// Segment decrypts one object; Out of the Result is nil.
func (d *Decrypter) Segment(object string, src []byte) (Result, error) {
	d.begin()
	if !d.in.Encrypted() {
		return Result{Clear: src}, nil
	}
	if err := d.seg.scan(d.in, object, src); err != nil {
		return Result{}, err
	}
	n, err := d.prepare(d.seg.samples, 0, src)
	if err != nil {
		return Result{}, err
	}
	if n == 0 && len(d.seg.kidAt)+len(d.seg.pssh) == 0 {
		return Result{Clear: src, Kept: d.kept}, nil
	}
	d.clear = grow(d.clear, len(src))
	d.transform(d.seg.samples, 0, src, d.clear, nil, Place{})
	d.putIVs(d.seg.samples, d.clear, 0, Place{}, true)
	blankNames(d.clear, 0, d.seg.kidAt, d.seg.pssh)
	return d.result(src)
}
