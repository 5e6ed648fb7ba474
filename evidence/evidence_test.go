package evidence_test

import (
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
)

func TestVerdict(t *testing.T) {
	var e evidence.Evidence
	if e.Verdict() != evidence.Undecided {
		t.Errorf("no evidence is %s", e.Verdict())
	}
	e.Look(1 << 20)
	if e.Verdict() != evidence.Undecided {
		t.Errorf("bytes without a rule are %s", e.Verdict())
	}
	for range 3 {
		e.Pass(100, 1.0/256)
	}
	if e.Verdict() != evidence.Undecided {
		t.Errorf("one in %g is %s", 1/e.MissProbability(), e.Verdict())
	}
	var more evidence.Evidence
	more.Pass(100, 1e-6)
	e.Add(more)
	if e.Verdict() != evidence.Right {
		t.Errorf("one in %g is %s", 1/e.MissProbability(), e.Verdict())
	}
	e.Fail(1)
	if e.Verdict() != evidence.Wrong {
		t.Errorf("a check that right media cannot fail leaves %s", e.Verdict())
	}
	if e.Bytes != 1<<20+401 {
		t.Errorf("%d bytes", e.Bytes)
	}
}

func TestMerge(t *testing.T) {
	one, two := evidence.Evidence{ForLog10: -3, Bytes: 5}, evidence.Evidence{ForLog10: -4, Against: 1}
	if got := evidence.Merge[string](nil, nil); got != nil {
		t.Errorf("nothing and nothing are %v", got)
	}
	got := evidence.Merge(evidence.Merge(nil, map[string]evidence.Evidence{"a": one}), map[string]evidence.Evidence{"a": two, "b": one})
	if want := (evidence.Evidence{ForLog10: -7, Against: 1, Bytes: 5}); len(got) != 2 || got["a"] != want || got["b"] != one {
		t.Errorf("pooled are %v", got)
	}
}
