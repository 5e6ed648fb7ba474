package cpix_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

// FuzzParse: every document is read or refused by an *Error with a class, and
// what was read is the same when it is written and read again.
func FuzzParse(f *testing.F) {
	d := full(f)
	for _, o := range []cpix.EmitOptions{
		{}, {Recipients: []*x509.Certificate{alice().cert}}, {Recipients: []*x509.Certificate{alice().cert}, SHA256: true},
	} {
		b, err := cpix.Emit(d, o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(clearDoc("<c:DRMSystemList><c:DRMSystem systemId=\"" + wv + "\" kid=\"" + kidA + "\"><c:PSSH/></c:DRMSystem></c:DRMSystemList>")))
	f.Add([]byte(rules(`kid="`+kidA+`" intendedTrackType="ALL"`, `<c:VideoFilter/><c:AudioFilter maxChannels="2"/><c:Other/>`)))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"))
	f.Add([]byte(strings.Repeat("<a>", 40)))
	classes := []error{cpix.ErrMalformed, cpix.ErrUnsupported, cpix.ErrLimit, cpix.ErrNoRecipient, cpix.ErrMAC, cpix.ErrDecrypt}
	o := cpix.ParseOptions{Decrypters: []crypto.Decrypter{alice().key}}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cpix.Parse("x", b, o)
		if err != nil {
			var e *cpix.Error
			if !errors.As(err, &e) || e.Line < 1 || e.Line > strings.Count(string(b), "\n")+1 {
				t.Fatalf("%v: no *Error with a line of the document", err)
			}
			n := 0
			for _, c := range classes {
				if errors.Is(err, c) {
					n++
				}
			}
			if n != 1 || got != nil {
				t.Fatalf("%v: %d classes", err, n)
			}
			return
		}
		for _, r := range got.Rules {
			if r.Unusable {
				return
			}
		}
		out, err := cpix.Emit(*got, cpix.EmitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := cpix.Parse("x", out, cpix.ParseOptions{})
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		wantSame(t, again, *got)
	})
}
