package aes128

import (
	"bytes"
	"errors"
	"math"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/hls/audio"
)

// sight is what bytes look like.
type sight struct {
	format string // empty: nothing known
	// log10 is the logarithm of the chance that random bytes would look so.
	log10 float64
	whole bool // right to the exact end
	// Of what is not whole: where it stops being right, why, and the class of error.
	at     int
	reason string
	class  error
	// cut: what begins at at goes on after the end.
	cut bool
	// noStart: only the first packet is wrong, so that the first block may be.
	noStart bool
}

// credible is the log10 of the chance below which what is not whole counts as
// damaged media, and not as chance.
const credible = -6

func (s sight) credible() bool { return s.format != "" && s.log10 < credible }

// formats is how many formats are looked for: chance has as many ways to look
// like media (four codecs of packed audio).
const formats = 7

const log2 = math.Ln2 / math.Ln10 // log10 of 2

// recognize tells what media b is, by the structures that RFC 8216 §3 names:
// whole media of any format before parts of another, then what chance explains
// least.
func recognize(b []byte) sight {
	var best sight
	for _, s := range [...]sight{lookTS(b), lookBoxes(b), lookPacked(b), lookWebVTT(b)} {
		if s.format == "" || best.whole && !s.whole {
			continue
		}
		if best.format == "" || s.whole && !best.whole || s.log10 < best.log10 {
			best = s
		}
	}
	return best
}

// lookPacked looks for packed audio (RFC 8216 §3.4): ID3 tags and frames.
func lookPacked(b []byte) sight {
	if _, ok := audio.Detect(b); !ok && !bytes.HasPrefix(b, []byte("ID3")) {
		return sight{}
	}
	s, err := audio.Walk(b)
	found := sight{format: "packed audio", log10: s.ChanceLog10, whole: err == nil, at: s.End, class: hls.ErrMalformed}
	var e *hls.Error
	if errors.As(err, &e) {
		found.reason = e.Reason
	}
	switch _, tag := audio.ID3(b[s.End:]); {
	case tag != nil:
		found.cut = true
		found.log10 -= 24 * log2 // its letters
	case s.Codec == 0:
		found.class = hls.ErrUnsupported // ID3 tags, and then frames of no known codec
	case err != nil:
		n, _, err := audio.Frame(s.Codec, b[s.End:])
		found.cut = err == nil && n > len(b)-s.End
	}
	if s.Codec != 0 {
		found.format += ", " + s.Codec.String()
	}
	return found
}
