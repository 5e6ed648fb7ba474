package dash

import (
	"strings"
	"testing"
)

// BenchmarkMPD reads and edits an MPD of two hours: 4 s segments listed one by
// one, three Representations.
func BenchmarkMPD(b *testing.B) {
	s := strings.Repeat(`<S d="360360"/>`, 1800)
	text := []byte(document(strings.Repeat(`<Representation id="r"><SegmentTemplate timescale="90000" initialization="v1/i.mp4" media="v1/$Time$.m4s"><SegmentTimeline>`+s+`</SegmentTimeline></SegmentTemplate></Representation>`, 3)))
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse("m", text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("edit", func(b *testing.B) {
		m, err := Parse("m", text)
		if err != nil {
			b.Fatal(err)
		}
		move := into(func(*Representation, bool) bool { return true })
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Edit(Edits{Move: move}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
