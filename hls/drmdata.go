package hls

import (
	"bytes"
	"fmt"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// OldDRMData says why the data: URI of a key tag keeps the DRM data that it has,
// with the new KIDs in it, although ch brings new data of its system; empty where
// it does not. Errors are those of [RekeyKeyTag].
func OldDRMData(k *KeyTag, ch key.Changes) (reason string, err error) {
	if !isCommonEncryption(k.Method) {
		return "", nil
	}
	d, ok, err := parseDataURI(k)
	if err != nil || !ok {
		return "", err
	}
	if _, reason, err = replaceData(k, d, ch); err != nil {
		return "", tagError(k, err)
	}
	return reason, nil
}

// replaceData is the new data for a data: URI; nil where there is none, or where
// it can't stand there, for the reason given. A tag holds one box or object: that
// of its KEYID where it has one, since other keys have tags of their own; else
// that of the one key that the old data names.
func replaceData(k *KeyTag, d dataURI, ch key.Changes) (data []byte, reason string, err error) {
	var own []key.KID
	if k.KeyID != "" {
		kid, err := keyID(k)
		if err != nil {
			return nil, "", err
		}
		own = []key.KID{kid}
	}
	fresh, err := newData(d, ch, own)
	if err != nil || len(fresh) == 0 {
		return nil, "", err
	}
	if len(fresh) > 1 && own != nil {
		if c, ok := ch[own[0]]; ok {
			alone, err := newData(d, key.Changes{own[0]: c}, own)
			if err != nil {
				return nil, "", err
			}
			if len(alone) > 0 {
				fresh = alone[:1] // the old data with the other KIDs would follow
			}
		}
	}
	if len(fresh) != 1 {
		return nil, fmt.Sprintf("%d new pieces of DRM data would stand in the place of one", len(fresh)), nil
	}
	if d.kind != dataHeader {
		return fresh[0], "", nil
	}
	if data = bareHeader(d.data, fresh[0]); data == nil {
		return nil, "the new PlayReady object is not one header alone", nil
	}
	return data, "", nil
}

// newData is what ch brings of the data's system.
func newData(d dataURI, ch key.Changes, own []key.KID) ([][]byte, error) {
	switch d.kind {
	case dataPSSH:
		return pssh.Replace(d.data, ch, own)
	case dataPRO:
		return pssh.ReplacePRO(d.data, ch, own)
	case dataHeader:
		pro, err := playReadyObject(d.data)
		if err != nil {
			return nil, err
		}
		return pssh.ReplacePRO(pro, ch, own)
	default:
		return nil, nil
	}
}

// bareHeader takes the one header out of a PlayReady object, for a data: URI that
// holds one as old does; nil where there is more in the object.
func bareHeader(old, pro []byte) []byte {
	if len(pro) < objectStart {
		return nil
	}
	header := pro[objectStart:]
	around, err := playReadyObject(header)
	if err != nil || !bytes.Equal(around, pro) || !bytes.HasPrefix(header, []byte("<\x00")) {
		return nil
	}
	if bytes.HasPrefix(old, []byte("\xff\xfe")) {
		header = append([]byte("\xff\xfe"), header...)
	}
	return header
}
