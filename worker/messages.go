package worker

import (
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls/aes128"
	"github.com/seed-6133abe0/rekey/hls/sampleaes"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// messageFunc rewrites one message of an object. Its result may alias buffers
// until the next call.
type messageFunc func(o journal.Object, m catalog.Message, src []byte) (result, error)

func aesMessages(c key.Change) messageFunc {
	r := aes128.NewRekeyer(c)
	return func(o journal.Object, m catalog.Message, src []byte) (result, error) {
		res, err := r.Message(o.From, m.Offset, m.IV, src)
		return result{out: res.Out, clear: res.Clear, evidence: res.Evidence}, err
	}
}

func sampleMessages(c key.Change) messageFunc {
	r := sampleaes.NewRekeyer(c)
	return func(o journal.Object, m catalog.Message, src []byte) (result, error) {
		res, err := r.Segment(o.From, m.Offset, m.IV, src)
		out := result{out: res.Out, clear: res.Clear, evidence: res.Evidence, findings: res.Findings}
		if m.UnknownIV {
			out.evidence = evidence.Evidence{Bytes: res.Evidence.Bytes}
		}
		for _, g := range res.Grown {
			out.grown = append(out.grown, journal.Growth{At: g.At, By: g.By})
		}
		return out, err
	}
}

// messageRekeyer is of a track whose objects HLS encrypts as segments. It keeps
// one rekeyer for each key. Messages under keys that do not change stay as they
// are, also in the clear form.
func messageRekeyer(t journal.Track, ch key.Changes, open func(key.Change) messageFunc) rekeyFunc {
	byKID := map[key.KID]messageFunc{}
	one := func(o journal.Object, m catalog.Message, src []byte) (result, error) {
		c, ok := ch[m.KID]
		if !ok {
			return result{out: src, clear: src}, nil
		}
		if byKID[m.KID] == nil {
			byKID[m.KID] = open(c)
		}
		return byKID[m.KID](o, m, src)
	}
	return func(o journal.Object, src []byte) (result, error) {
		parts := o.Segment().Parts()
		if !slices.ContainsFunc(parts, func(m catalog.Message) bool { _, ok := ch[m.KID]; return ok }) {
			return result{}, fmt.Errorf("rekey %s: the plan changes none of its keys", o.From)
		}
		if o.Messages == nil {
			r, err := one(o, parts[0], src)
			r.byKID = several(t, map[key.KID]evidence.Evidence{o.KID: r.evidence})
			return r, err
		}
		return messages(t, o, src, ch, one)
	}
}

// messages rewrites an object that is listed by ranges, which cover it.
func messages(t journal.Track, o journal.Object, src []byte, ch key.Changes, one messageFunc) (result, error) {
	var all result
	all.out = make([]byte, 0, len(src))
	all.clear = make([]byte, 0, len(src))
	by := map[key.KID]evidence.Evidence{}
	var end int64
	for _, m := range o.Messages {
		if m.Offset != end || m.Length > int64(len(src))-end {
			return all, fmt.Errorf("rekey %s: %w: the byte ranges of the plan do not cover it", o.From, journal.ErrCorrupt)
		}
		end += m.Length
		r, err := one(o, m, src[m.Offset:end])
		if err != nil {
			return all, err
		}
		all.out = append(all.out, r.out...)
		all.clear = append(all.clear, r.clear...)
		all.grown = append(all.grown, r.grown...)
		all.evidence.Add(r.evidence)
		all.findings = append(all.findings, r.findings...)
		if _, ok := ch[m.KID]; ok {
			by = evidence.Merge(by, map[key.KID]evidence.Evidence{m.KID: r.evidence})
		}
	}
	if end != int64(len(src)) {
		return all, fmt.Errorf("rekey %s: %w: the byte ranges of the plan do not cover it", o.From, journal.ErrCorrupt)
	}
	all.byKID = several(t, by)
	return all, nil
}
