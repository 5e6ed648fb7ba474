package aes128

import (
	"bytes"
	"crypto/aes"
	"math"
	"unicode/utf8"

	"github.com/seed-6133abe0/rekey/hls/audio"
)

// recognizeRest looks for media whose first block is lost: CBC decrypts all blocks
// but the first without the IV. It finds where a box or a frame begins from which
// the rest is right, or the text of WebVTT. (MPEG-2 TS needs no search.)
func recognizeRest(b []byte) sight {
	if len(b) <= aes.BlockSize {
		return sight{}
	}
	best := sight{}
	for _, look := range [...]func([]byte) sight{laterBox, laterFrame, laterText} {
		s := look(b)
		// Chance may begin anywhere.
		if s.log10 += math.Log10(float64(len(b))); s.credible() && s.log10 < best.log10 {
			best = s
		}
	}
	best.noStart = true
	return best
}

// laterBox looks for a known box after the first block. What failed from one place
// is not tried again from within: no bytes are walked twice.
func laterBox(b []byte) sight {
	for at := aes.BlockSize; at+boxHeader <= len(b); at++ {
		if !isBox(string(b[at+4 : at+boxHeader])) {
			continue
		}
		s := lookBoxes(b[at:])
		if s.whole || s.credible() && s.log10 < 2*credible {
			return s
		}
		at += s.at
	}
	return sight{}
}

// laterFrame looks for two audio frames or more after the first block.
func laterFrame(b []byte) sight {
	for at := aes.BlockSize; at < len(b); at++ {
		if b[at] != 0xff && b[at] != 0x0b {
			continue
		}
		if _, ok := audio.Detect(b[at:]); !ok {
			continue
		}
		s := lookPacked(b[at:])
		if s.log10 < 2*credible {
			return s
		}
		at += s.at
	}
	return sight{}
}

// laterText takes bytes for the rest of a WebVTT file where they are text with the
// arrow of a cue timing, but for the last block, which may be damaged too. Of
// random bytes, fewer than half go on being text (98 of 256, and one in 35 pairs).
func laterText(b []byte) sight {
	if len(b) <= 2*aes.BlockSize {
		return sight{}
	}
	text := b[aes.BlockSize : len(b)-aes.BlockSize]
	for len(text) > 0 && !utf8.RuneStart(text[0]) { // of a character that begins in the first block
		text = text[1:]
	}
	if !bytes.Contains(text, []byte("-->")) || utf8Length(text) <= len(text)-utf8.UTFMax || bytes.ContainsFunc(text, control) {
		return sight{}
	}
	return sight{format: "WebVTT", log10: -log2 * float64(min(len(text)-utf8.UTFMax+1, 512)), whole: true}
}

func control(r rune) bool { return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
