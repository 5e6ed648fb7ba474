package speke

import (
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

// Ask is what keys are asked for.
type Ask struct {
	ContentID string // of the asset; required
	Keys      []Key
	Systems   []System // each for every key
}

// Key is one key to be asked for.
type Key struct {
	KID    key.KID
	Scheme string // commonEncryptionScheme: cenc, cens, cbc1 or cbcs; required
	// TrackType is ContentKeyUsageRule@intendedTrackType, another for every key:
	// "VIDEO", "AUDIO", "SD", "STEREO_AUDIO", …, several joined by "+"; "ALL" for
	// one key for everything.
	TrackType string
	IV        *key.IV // explicitIV; nil: the provider may choose one or none
	// Video and Audio narrow the tracks; both nil: one filter without bounds for
	// each part of TrackType, for audio where the part names AUDIO, else video.
	Video []cpix.VideoFilter
	Audio []cpix.AudioFilter
}

// System is a DRM system and which of its signaling is wanted.
type System struct {
	ID    [16]byte
	Wants cpix.Signaling
}

// document is the request (clauses "Standard payload components" and
// "Encryption contract").
func (a Ask) document() (cpix.Document, error) {
	d := cpix.Document{ContentID: a.ContentID}
	if a.ContentID == "" || len(a.Keys) == 0 || len(a.Systems) == 0 {
		return d, fmt.Errorf("%w: it takes a content id, keys and DRM systems", ErrAsk)
	}
	if strings.TrimSpace(a.ContentID) != a.ContentID {
		return d, fmt.Errorf("%w: white space around the content id", ErrAsk)
	}
	kids, types := map[key.KID]bool{}, map[string]bool{}
	for _, k := range a.Keys {
		switch {
		case k.Scheme == "" || k.TrackType == "" || strings.ContainsAny(k.TrackType, " \t\r\n"):
			return d, fmt.Errorf("%w: KID %s has no scheme, or no track type without white space", ErrAsk, k.KID)
		case kids[k.KID]:
			return d, fmt.Errorf("%w: KID %s twice", ErrAsk, k.KID)
		case types[k.TrackType] || types["ALL"] || k.TrackType == "ALL" && len(types) > 0:
			return d, fmt.Errorf("%w: the track type of KID %s is another key's too", ErrAsk, k.KID)
		}
		kids[k.KID], types[k.TrackType] = true, true
		d.Keys = append(d.Keys, cpix.ContentKey{KID: k.KID, ExplicitIV: k.IV, CommonEncryptionScheme: k.Scheme})
		d.Rules = append(d.Rules, k.rule())
		for _, s := range a.Systems {
			d.Systems = append(d.Systems, cpix.DRMSystem{SystemID: s.ID, KID: k.KID, Asked: s.Wants})
		}
	}
	return d, nil
}

func (k Key) rule() cpix.Rule {
	r := cpix.Rule{KID: k.KID, IntendedTrackType: k.TrackType, Video: k.Video, Audio: k.Audio}
	if len(k.Video)+len(k.Audio) > 0 {
		return r
	}
	for part := range strings.SplitSeq(k.TrackType, "+") {
		if part == "ALL" || !strings.Contains(part, "AUDIO") {
			r.Video = append(r.Video, cpix.VideoFilter{})
		}
		if part == "ALL" || strings.Contains(part, "AUDIO") {
			r.Audio = append(r.Audio, cpix.AudioFilter{})
		}
	}
	return r
}
