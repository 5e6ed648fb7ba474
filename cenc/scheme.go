package cenc

import "github.com/seed-6133abe0/rekey/key"

// scheme is a protection scheme (ISO/IEC 23001-7 §10).
type scheme uint8

const (
	schemeNone scheme = iota
	schemeCENC        // AES-CTR, full samples or subsamples (§10.1)
	schemeCBC1        // AES-CBC, full samples or subsamples (§10.2)
	schemeCENS        // AES-CTR, subsamples with a pattern (§10.3)
	schemeCBCS        // AES-CBC, subsamples with a pattern (§10.4)
)

// schemeOf reads a scheme type. PIFF names the algorithm elsewhere: in its
// track encryption box, 1 for AES-CTR and 2 for AES-CBC.
func schemeOf(typ fourcc, algorithm uint32) scheme {
	switch typ {
	case typeCenc:
		return schemeCENC
	case typeCbc1:
		return schemeCBC1
	case typeCens:
		return schemeCENS
	case typeCbcs:
		return schemeCBCS
	case typePiff:
		return piffScheme(algorithm)
	}
	return schemeNone
}

func piffScheme(algorithm uint32) scheme {
	switch algorithm {
	case 1:
		return schemeCENC
	case 2:
		return schemeCBC1
	}
	return schemeNone
}

// ctr tells the AES-CTR schemes from the AES-CBC ones.
func (s scheme) ctr() bool { return s == schemeCENC || s == schemeCENS }

// protection is what holds for a group of samples: a track's defaults (tenc,
// ISO/IEC 23001-7 §8.2) or a sample group's (seig, §6), and the codec.
type protection struct {
	track     int // index in Init.tracks
	entry     int // index of the sample entry in the track
	group     int // group_description_index as sbgp says it; 0: the track's defaults
	scheme    scheme
	protected bool
	kid       key.KID
	ivSize    int // of the IV of each sample: 8 or 16; 0: constant
	constant  [16]byte
	crypt     int // pattern, in blocks; 0:0 is no pattern
	skip      int
	codec     codec
	pool      int // index of the first protection of the same track and KID
}

// readDefaults reads the fields that tenc, of version 1, and seig have in
// common (§6, §8.2): pattern, isProtected, IV size, KID, constant IV. It
// returns where the KID stands.
func (p *protection) readDefaults(f *fields, patterned bool) (kidAt int) {
	f.u8()
	pattern := f.u8()
	p.protected = f.u8() != 0 // 1; others are reserved
	p.ivSize = int(f.u8())
	kidAt = f.skip(16)
	if f.short {
		return kidAt
	}
	copy(p.kid[:], f.b[kidAt-f.base:])
	p.crypt, p.skip = 0, 0
	if patterned {
		p.crypt, p.skip = int(pattern>>4), int(pattern&15)
	}
	if p.protected && p.ivSize == 0 {
		n := int(f.u8())
		at := f.skip(n)
		if n != 8 && n != 16 {
			f.short = true
		}
		if !f.short {
			// 8 bytes are the first half, as for an IV of a sample (§9.1).
			copy(p.constant[:], f.b[at-f.base:at-f.base+n])
		}
	}
	return kidAt
}

// check says, in words, why samples of this protection can't be transformed.
func (p *protection) check() string {
	switch {
	case !p.protected:
		return ""
	case p.scheme == schemeNone:
		return "a protection scheme that is none of cenc, cens, cbc1, cbcs and PIFF"
	case p.ivSize != 0 && p.ivSize != 8 && p.ivSize != 16:
		return "a per-sample IV that is neither of 8 nor of 16 bytes"
	case p.ivSize == 0 && p.scheme.ctr():
		// §10.1, §10.3: one counter for all samples is one key stream for all.
		return "a constant IV under AES-CTR"
	case p.crypt == 0 && p.skip != 0:
		return "a pattern that encrypts nothing"
	case p.crypt != 0 && (p.scheme == schemeCENC || p.scheme == schemeCBC1):
		return "a pattern under a scheme that has none"
	}
	return ""
}
