package hls

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"net/url"
	"strings"
)

// Spellings of KEYFORMAT whose data: URIs are read, in lower case.
const (
	formatPlayReady     = "com.microsoft.playready"
	formatPlayReadyUUID = "urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95"
	formatClearKey      = "org.w3.clearkey"
	formatClearKeyUUID  = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
	formatCommonUUID    = "urn:uuid:1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"
)

type dataKind int

const (
	dataOther dataKind = iota
	dataPSSH
	dataPRO
	dataHeader // what stands inside a PlayReady object
	dataKID
	dataClearKey
)

// dataURI is a data: URI of a key tag (RFC 2397).
type dataURI struct {
	payload  int // index in the URI at which the base64 begins
	encoding *base64.Encoding
	data     []byte
	kind     dataKind
}

// holdsKID reports the KEYFORMATs whose data: URI may be a bare KID: identity, as
// Shaka Packager writes it, and those that have nothing else to say.
func holdsKID(format string) bool {
	switch format {
	case FormatIdentity, formatClearKey, formatClearKeyUUID, formatCommonUUID:
		return true
	default:
		return false
	}
}

// objectStart is what precedes the one header of a PlayReady object: its length,
// the number of records, the record's type and length (PlayReady Header
// Specification §2).
const objectStart = 4 + 2 + 2 + 2

// playReadyObject puts a bare header, which charset=UTF-16 in the URI says of it,
// into the object that it should be in.
func playReadyObject(header []byte) ([]byte, error) {
	if len(header) > math.MaxUint16 {
		return nil, errLongHeader
	}
	pro := binary.LittleEndian.AppendUint32(nil, uint32(objectStart+len(header)))
	pro = append(pro, 1, 0, 1, 0)
	pro = binary.LittleEndian.AppendUint16(pro, uint16(len(header)))
	return append(pro, header...), nil
}

var errLongHeader = errors.New("PlayReady header is longer than a record")

func isDataURI(uri string) bool {
	return len(uri) >= 5 && strings.EqualFold(uri[:5], "data:")
}

// parseDataURI reads the URI; ok is false where it is no base64 data: URI. What
// a known KEYFORMAT holds and cannot be read is malformed: it may name any key.
func parseDataURI(k *KeyTag) (d dataURI, ok bool, err error) {
	if !isDataURI(k.URI) {
		return d, false, nil
	}
	comma := strings.IndexByte(k.URI, ',')
	if comma < 0 || !strings.HasSuffix(strings.ToLower(k.URI[:comma]), ";base64") {
		return d, false, &Error{Line: k.Line, Column: k.Column, Class: ErrMalformed, Reason: "data: URI is not base64"}
	}
	d.payload = comma + 1
	text, err := url.PathUnescape(k.URI[d.payload:])
	if err != nil {
		return d, false, &Error{Line: k.Line, Column: k.Column, Class: ErrMalformed, Reason: "data: URI has a bad percent-encoding"}
	}
	d.encoding = base64.StdEncoding
	if strings.HasSuffix(text, "=") || len(text)%4 == 0 {
		d.data, err = base64.StdEncoding.DecodeString(text)
	} else {
		d.encoding = base64.RawStdEncoding
		d.data, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return d, false, &Error{Line: k.Line, Column: k.Column, Class: ErrMalformed, Reason: "data: URI is not base64"}
	}
	format := strings.ToLower(k.KeyFormat)
	switch {
	case len(d.data) >= 8 && bytes.Equal(d.data[4:8], []byte("pssh")):
		d.kind = dataPSSH
	case format == formatPlayReady || format == formatPlayReadyUUID:
		d.kind = dataPRO
		if bytes.HasPrefix(d.data, []byte("<\x00")) || bytes.HasPrefix(d.data, []byte("\xff\xfe<\x00")) {
			d.kind = dataHeader
		}
	case holdsKID(format) && len(d.data) == 16:
		d.kind = dataKID
	case format == formatClearKey || format == formatClearKeyUUID:
		d.kind = dataClearKey
	}
	return d, true, nil
}
