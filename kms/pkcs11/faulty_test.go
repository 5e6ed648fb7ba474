//go:build pkcs11 && cgo

package pkcs11

import (
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"
)

// faulty is a module that fails as it is told to, before the call reaches the
// token.
type faulty struct {
	cryptoki
	mu    sync.Mutex
	plan  map[string][]uint // by call: what its next calls return, CKR_OK for the token's answer
	calls map[string]int
	blind bool              // the token drops what is to be authenticated
	after func(call string) // runs once the call was answered
	info  func(*p11.TokenInfo)
	attr  func(*p11.Attribute) // changes what the token says of a key
	iv    []byte               // what the token puts in place of an IV
}

func (f *faulty) next(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[call]++
	codes := f.plan[call]
	if len(codes) == 0 {
		return nil
	}
	c := codes[0]
	f.plan[call] = codes[1:]
	if c == p11.CKR_OK {
		return nil
	}
	return p11.Error(c)
}

func (f *faulty) fail(call string, codes ...uint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = map[string][]uint{call: codes}
	f.calls = map[string]int{}
}

func (f *faulty) called(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func (f *faulty) done(call string) {
	if f.after != nil {
		f.after(call)
	}
}

func (f *faulty) Initialize() error {
	if err := f.next("Initialize"); err != nil {
		return err
	}
	return f.cryptoki.Initialize()
}

func (f *faulty) GetSlotList() ([]uint, error) {
	if err := f.next("GetSlotList"); err != nil {
		return nil, err
	}
	return f.cryptoki.GetSlotList()
}

func (f *faulty) GetTokenInfo(slot uint) (p11.TokenInfo, error) {
	if err := f.next("GetTokenInfo"); err != nil {
		return p11.TokenInfo{}, err
	}
	info, err := f.cryptoki.GetTokenInfo(slot)
	if f.info != nil {
		f.info(&info)
	}
	return info, err
}

func (f *faulty) OpenSession(slot uint) (p11.SessionHandle, error) {
	if err := f.next("OpenSession"); err != nil {
		return 0, err
	}
	return f.cryptoki.OpenSession(slot)
}

func (f *faulty) CloseSession(s p11.SessionHandle) error {
	if err := f.next("CloseSession"); err != nil {
		return err
	}
	return f.cryptoki.CloseSession(s)
}

func (f *faulty) Login(s p11.SessionHandle, pin string) error {
	if err := f.next("Login"); err != nil {
		return err
	}
	return f.cryptoki.Login(s, pin)
}

func (f *faulty) Find(s p11.SessionHandle, template []*p11.Attribute, max int) ([]p11.ObjectHandle, error) {
	if err := f.next("Find"); err != nil {
		return nil, err
	}
	return f.cryptoki.Find(s, template, max)
}

func (f *faulty) GetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) ([]*p11.Attribute, error) {
	if err := f.next("GetAttributeValue"); err != nil {
		return nil, err
	}
	got, err := f.cryptoki.GetAttributeValue(s, o, a)
	if f.attr != nil {
		for _, a := range got {
			f.attr(a)
		}
	}
	return got, err
}

func (f *faulty) SetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) error {
	if err := f.next("SetAttributeValue"); err != nil {
		return err
	}
	defer f.done("SetAttributeValue")
	return f.cryptoki.SetAttributeValue(s, o, a)
}

func (f *faulty) DestroyObject(s p11.SessionHandle, o p11.ObjectHandle) error {
	if err := f.next("DestroyObject"); err != nil {
		return err
	}
	return f.cryptoki.DestroyObject(s, o)
}

func (f *faulty) Generate(s p11.SessionHandle, template []*p11.Attribute) (p11.ObjectHandle, error) {
	if err := f.next("Generate"); err != nil {
		return 0, err
	}
	defer f.done("Generate")
	return f.cryptoki.Generate(s, template)
}

func (f *faulty) Seal(s p11.SessionHandle, o p11.ObjectHandle, iv, aad, plain []byte) ([]byte, []byte, error) {
	if err := f.next("Seal"); err != nil {
		return nil, nil, err
	}
	if f.iv != nil {
		iv = f.iv
	}
	if f.blind {
		aad = nil
	}
	return f.cryptoki.Seal(s, o, iv, aad, plain)
}

func (f *faulty) Open(s p11.SessionHandle, o p11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	if err := f.next("Open"); err != nil {
		return nil, err
	}
	if f.blind {
		aad = nil
	}
	return f.cryptoki.Open(s, o, iv, aad, sealed)
}

// faultyProvider is a provider of a real token behind a faulty module.
func (b *bench) faulty(t *testing.T) (*Provider, *faulty) {
	t.Helper()
	o, err := b.options().withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := load(o.Module)
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{cryptoki: lib, calls: map[string]int{}}
	p, err := open(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, f
}

// stuckToken encrypts and decrypts though it may not: that many times each.
type stuckToken struct {
	*faulty
	seals, opens int
}

func (s *stuckToken) Seal(h p11.SessionHandle, o p11.ObjectHandle, iv, aad, plain []byte) ([]byte, []byte, error) {
	if s.seals--; s.seals >= 0 {
		return iv, make([]byte, keySize+tagSize), nil
	}
	return s.faulty.Seal(h, o, iv, aad, plain)
}

func (s *stuckToken) Open(h p11.SessionHandle, o p11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	if s.opens--; s.opens >= 0 {
		return nil, p11.Error(p11.CKR_ENCRYPTED_DATA_INVALID)
	}
	return s.faulty.Open(h, o, iv, aad, sealed)
}
