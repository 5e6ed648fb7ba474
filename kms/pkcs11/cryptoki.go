//go:build pkcs11 && cgo

package pkcs11

import (
	"errors"
	"fmt"
	"os"

	p11 "github.com/miekg/pkcs11"
)

// What the module does, by subject. Errors are the binding's (p11.Error), as they
// come.

type slots interface {
	// Initialize is p11.Error(CKR_CRYPTOKI_ALREADY_INITIALIZED) where another part
	// of the process has done it.
	Initialize() error
	// GetSlotList is those with a token in them.
	GetSlotList() ([]uint, error)
	GetTokenInfo(slot uint) (p11.TokenInfo, error)
}

type sessions interface {
	// OpenSession opens for reading and writing.
	OpenSession(slot uint) (p11.SessionHandle, error)
	CloseSession(p11.SessionHandle) error
	// Login is as the token's user.
	Login(p11.SessionHandle, string) error
}

type objects interface {
	// Find is C_FindObjectsInit, C_FindObjects and C_FindObjectsFinal: at most max
	// objects.
	Find(s p11.SessionHandle, template []*p11.Attribute, max int) ([]p11.ObjectHandle, error)
	GetAttributeValue(p11.SessionHandle, p11.ObjectHandle, []*p11.Attribute) ([]*p11.Attribute, error)
	SetAttributeValue(p11.SessionHandle, p11.ObjectHandle, []*p11.Attribute) error
	DestroyObject(p11.SessionHandle, p11.ObjectHandle) error
}

type ciphers interface {
	// Generate is C_GenerateKey with CKM_AES_KEY_GEN.
	Generate(p11.SessionHandle, []*p11.Attribute) (p11.ObjectHandle, error)
	// Seal is C_EncryptInit and C_Encrypt with CKM_AES_GCM. used is iv, or what
	// the token put in its place.
	Seal(s p11.SessionHandle, key p11.ObjectHandle, iv, aad, plain []byte) (used, sealed []byte, err error)
	// Open is C_DecryptInit and C_Decrypt with CKM_AES_GCM.
	Open(s p11.SessionHandle, key p11.ObjectHandle, iv, aad, sealed []byte) (plain []byte, err error)
}

type cryptoki interface {
	slots
	sessions
	objects
	ciphers
}

// library is a vendor's module. A module of a path is loaded once in a process,
// however many libraries there are of it. It is never unloaded: it may have
// threads and exit handlers.
type library struct{ c *p11.Ctx }

func load(path string) (library, error) {
	if _, err := os.Stat(path); err != nil {
		return library{}, fmt.Errorf("%w: module: %w", ErrOptions, err)
	}
	c := p11.New(path)
	if c == nil {
		return library{}, fmt.Errorf("%w: %s cannot be loaded as a PKCS#11 module", ErrOptions, path)
	}
	return library{c}, nil
}

func (l library) Initialize() error { return l.c.Initialize() }

func (l library) GetSlotList() ([]uint, error) { return l.c.GetSlotList(true) }

func (l library) GetTokenInfo(slot uint) (p11.TokenInfo, error) { return l.c.GetTokenInfo(slot) }

func (l library) OpenSession(slot uint) (p11.SessionHandle, error) {
	return l.c.OpenSession(slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
}

func (l library) CloseSession(s p11.SessionHandle) error { return l.c.CloseSession(s) }

func (l library) Login(s p11.SessionHandle, pin string) error {
	return l.c.Login(s, p11.CKU_USER, pin)
}

func (l library) Find(s p11.SessionHandle, template []*p11.Attribute, max int) (found []p11.ObjectHandle, err error) {
	if err := l.c.FindObjectsInit(s, template); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.c.FindObjectsFinal(s)) }()
	for len(found) < max { // a call may give fewer than there are
		more, _, err := l.c.FindObjects(s, max-len(found))
		if err != nil || len(more) == 0 {
			return found, err
		}
		found = append(found, more...)
	}
	return found, nil
}

func (l library) GetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) ([]*p11.Attribute, error) {
	return l.c.GetAttributeValue(s, o, a)
}

func (l library) SetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, a []*p11.Attribute) error {
	return l.c.SetAttributeValue(s, o, a)
}

func (l library) DestroyObject(s p11.SessionHandle, o p11.ObjectHandle) error {
	return l.c.DestroyObject(s, o)
}

func (l library) Generate(s p11.SessionHandle, template []*p11.Attribute) (p11.ObjectHandle, error) {
	return l.c.GenerateKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, template)
}

func (l library) Seal(s p11.SessionHandle, key p11.ObjectHandle, iv, aad, plain []byte) (used, sealed []byte, err error) {
	params := p11.NewGCMParams(iv, aad, tagSize*8)
	defer params.Free()
	if err := l.c.EncryptInit(s, gcm(params), key); err != nil {
		return nil, nil, err
	}
	if sealed, err = l.c.Encrypt(s, plain); err != nil {
		return nil, nil, err
	}
	return params.IV(), sealed, nil
}

func (l library) Open(s p11.SessionHandle, key p11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	params := p11.NewGCMParams(iv, aad, tagSize*8)
	defer params.Free()
	if err := l.c.DecryptInit(s, gcm(params), key); err != nil {
		return nil, err
	}
	return l.c.Decrypt(s, sealed)
}

func gcm(params *p11.GCMParams) []*p11.Mechanism {
	return []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_GCM, params)}
}
