package main

import (
	"io"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// mediaResult is what became of a file.
type mediaResult struct {
	Samples    int
	Protected  int64
	Evidence   evidence.Evidence
	Findings   []cenc.Finding
	Kept       []key.KID // of protected samples that were left as they were
	NotUpdated []string  // protection systems whose data was left as it was
}

// cencMedia is a cenc.File.
type cencMedia struct {
	*cenc.File
	object string
}

// openCENC is the openMedia of the program.
func openCENC(object string, src io.ReaderAt, size int64) (media, error) {
	f, err := cenc.OpenFile(object, src, size)
	if err != nil {
		return nil, err
	}
	if err := f.Supported(); err != nil {
		return nil, err
	}
	return cencMedia{f, object}, nil
}

// KIDs are those of media; what pssh boxes name besides is no key of this file.
func (m cencMedia) KIDs() ([]key.KID, error) {
	kids, _, err := m.File.KIDs()
	return kids, err
}

func (m cencMedia) CheckKey(kid key.KID, k key.ContentKey) evidence.Verdict {
	return m.Init().CheckKey(kid, k)
}

func (m cencMedia) Rekey(out io.Writer, ivs uint64, ch key.Changes, progress func(int64)) (mediaResult, error) {
	r, err := m.File.Rekey(out, cenc.Place{Object: m.object, IVs: ivs}, ch, cenc.FileOptions{Progress: progress})
	return mediaResult{r.Samples, r.Protected, r.Evidence, r.Findings, r.Kept, r.NotUpdated}, err
}

// structuredIVs is where IVs begin for an object of a track.
func structuredIVs(track uint16, number uint32) (uint64, error) {
	return cenc.StructuredIVs(track, number)
}
