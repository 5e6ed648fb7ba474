package judge

import (
	"bytes"
	"fmt"

	"github.com/Eyevinn/mp4ff/mp4"
)

// MP4FF is a fragmented file, all tracks under one key, as the library mp4ff
// decrypts it.
func MP4FF(file, key []byte) ([]byte, error) {
	f, err := mp4.DecodeFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("mp4ff: decode: %w", err)
	}
	if f.Init == nil || len(f.Segments) == 0 {
		return nil, fmt.Errorf("mp4ff: the file is not fragmented")
	}
	info, err := mp4.DecryptInit(f.Init)
	if err != nil {
		return nil, fmt.Errorf("mp4ff: decrypt init: %w", err)
	}
	var out bytes.Buffer
	if err := f.Init.Encode(&out); err != nil {
		return nil, fmt.Errorf("mp4ff: encode init: %w", err)
	}
	for _, s := range f.Segments {
		if err := mp4.DecryptSegment(s, info, key); err != nil {
			return nil, fmt.Errorf("mp4ff: decrypt segment: %w", err)
		}
		if err := s.Encode(&out); err != nil {
			return nil, fmt.Errorf("mp4ff: encode segment: %w", err)
		}
	}
	return out.Bytes(), nil
}
