package main

import (
	"fmt"
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

// openCENC is the openMedia of the program.
func openCENC(object string, _ io.ReaderAt, _ int64) (media, error) {
	return nil, &cenc.Error{Object: object, Box: "moov", Reason: "single files are not rekeyed", Class: cenc.ErrUnsupported}
}

// structuredIVs is where IVs begin for an object of a track.
func structuredIVs(track uint16, number uint32) (uint64, error) {
	if number >= 1<<24 {
		return 0, fmt.Errorf("%w: number %d needs more than 24 bits", cenc.ErrLimit, number)
	}
	return uint64(track)<<48 | uint64(number)<<24, nil
}
