package backup

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Holder is a person who gets a share. A key on a curve other than P-256 is
// ErrOptions.
type Holder struct {
	Name string // printable, unique in a backup
	Key  *ecdh.PublicKey
}

// SealedShare is a share encrypted to one key. It stands in the backup and may
// also be kept apart: its text form is one line that ParseSealedShare reads.
type SealedShare struct {
	Backup    string // Header.Fingerprint of its backup
	Number    int    // from 1
	Holder    string
	Recipient string // Fingerprint of the key that opens it
	sealed    []byte // encapsulated key ‖ nonce ‖ ciphertext ‖ tag
}

// shareWire is a sealed share in JSON.
type shareWire struct {
	Format    string `json:"format"`
	Backup    string `json:"backup"`
	Number    int    `json:"number"`
	Holder    string `json:"holder"`
	Recipient string `json:"recipient"`
	Sealed    []byte `json:"sealed"`
}

const (
	shareFormat = "rekey-backup-share-v2"
	shareSize   = 32                               // bytes: a scalar of P-256
	encapSize   = 65                               // bytes of an encapsulated key (RFC 9180 §7.1)
	sealedSize  = encapSize + shareSize + overhead // encapsulated key ‖ nonce ‖ ciphertext ‖ tag
	maxShare    = 4 << 10                          // bytes of text
)

// MarshalText spells the share as it stands in the backup: a line with LF.
func (s SealedShare) MarshalText() ([]byte, error) {
	b, err := json.Marshal(shareWire{shareFormat, s.Backup, s.Number, s.Holder, s.Recipient, s.sealed})
	if err != nil {
		return nil, fmt.Errorf("encode share: %w", err)
	}
	return append(b, '\n'), nil
}

// ParseSealedShare reads a share that was kept apart. Errors are *Error of class
// ErrSyntax.
func ParseSealedShare(text []byte) (SealedShare, error) {
	if len(text) > maxShare {
		return SealedShare{}, fmt.Errorf("read share: %w", fault(ErrSyntax, "share", -1, "longer than %d bytes", maxShare))
	}
	s, err := parseShare(text)
	if err != nil {
		return SealedShare{}, fmt.Errorf("read share: %w", fault(ErrSyntax, "share", -1, "%v", err))
	}
	return s, nil
}

func parseShare(line []byte) (SealedShare, error) {
	var w shareWire
	if err := decodeLine(line, &w); err != nil {
		return SealedShare{}, err
	}
	switch {
	case w.Format != shareFormat:
		return SealedShare{}, fmt.Errorf("format is not %s", shareFormat)
	case !isHex(w.Backup, fingerprintSize) || !isHex(w.Recipient, fingerprintSize):
		return SealedShare{}, fmt.Errorf("backup and recipient are not %d hex digits each", 2*fingerprintSize)
	case w.Number < 1 || w.Number > maxHolders:
		return SealedShare{}, fmt.Errorf("number is not 1 to %d", maxHolders)
	case len(w.Sealed) != sealedSize:
		return SealedShare{}, fmt.Errorf("%d bytes sealed, want %d", len(w.Sealed), sealedSize)
	}
	if err := checkText(w.Holder, maxName); err != nil {
		return SealedShare{}, fmt.Errorf("holder %w", err)
	}
	return SealedShare{w.Backup, w.Number, w.Holder, w.Recipient, w.Sealed}, nil
}

// checkShare says why a sealed share is not one of this backup.
func (h *Header) checkShare(s SealedShare) error {
	switch {
	case s.Backup != h.Fingerprint():
		return fault(ErrForeign, fmt.Sprintf("share %d (%s)", s.Number, s.Holder), -1, "is of %.8s…, this is %.8s…", s.Backup, h.Fingerprint())
	case s.Number < 1 || s.Number > len(h.Manifest.Holders):
		return fault(ErrShare, fmt.Sprintf("share %d (%s)", s.Number, s.Holder), -1, "the backup has %d", len(h.Manifest.Holders))
	case s.Holder != h.Manifest.Holders[s.Number-1].Name:
		return fault(ErrShare, h.share(s.Number), -1, "bears another holder's name")
	}
	return nil
}

// Share is an opened share. It prints its number and holder only.
type Share struct {
	Number   int
	Holder   string
	manifest [32]byte
	// value stands behind a function, through which fmt does not look.
	value func() *[shareSize]byte
}

// OpenShare opens a sealed share of this backup with the key it is sealed to, and
// checks it against the commitments: ErrForeign, ErrHolder, or ErrShare if it
// does not open or does not fit. The error names the share.
func (h *Header) OpenShare(s SealedShare, k ecdh.KeyExchanger) (Share, error) {
	share, err := h.openShare(s, k)
	if err != nil {
		return Share{}, fmt.Errorf("open share: %w", err)
	}
	return share, nil
}

func (h *Header) openShare(s SealedShare, k ecdh.KeyExchanger) (Share, error) {
	if err := h.checkShare(s); err != nil {
		return Share{}, err
	}
	part := h.share(s.Number)
	if err := checkCurve(k.PublicKey()); err != nil {
		return Share{}, fault(ErrHolder, part, -1, "%v", err)
	}
	if mine := Fingerprint(k.PublicKey()); mine != s.Recipient {
		return Share{}, fault(ErrHolder, part, -1, "is sealed to key %.16s…, this is %.16s…", s.Recipient, mine)
	}
	private, err := hpke.NewDHKEMPrivateKey(k)
	if err != nil {
		return Share{}, fault(ErrHolder, part, -1, "%v", err)
	}
	recipient, err := hpke.NewRecipient(s.sealed[:encapSize], private, hpke.HKDFSHA256(), hpke.ExportOnly(), shareInfo(s))
	if err != nil {
		return Share{}, fault(ErrShare, part, -1, "does not open: its encapsulated key is none: %v", err)
	}
	aead, err := shareAEAD(recipient)
	if err != nil {
		return Share{}, fmt.Errorf("%s: %w", part, err)
	}
	raw, err := aead.Open(nil, nil, s.sealed[encapSize:], nil)
	if err != nil {
		return Share{}, fault(ErrShare, part, -1, "does not open: it was changed, or moved from elsewhere")
	}
	defer clear(raw)
	share := newShare(h, s.Number, raw)
	if err := h.fits(share); err != nil {
		return Share{}, err
	}
	return share, nil
}

func newShare(h *Header, number int, raw []byte) Share {
	value := [shareSize]byte(raw)
	return Share{
		Number: number, Holder: h.Manifest.Holders[number-1].Name,
		manifest: h.manifest, value: func() *[shareSize]byte { return &value },
	}
}

// SealTo encrypts the share to another key, so that it can travel to the machine
// that restores, where OpenShare takes it with that key.
func (s Share) SealTo(k *ecdh.PublicKey) (SealedShare, error) {
	if s.value == nil {
		return SealedShare{}, fmt.Errorf("seal share: %w", fault(ErrShare, "share 0", -1, "was never opened"))
	}
	sealed, err := sealShare(s, k)
	if err != nil {
		return SealedShare{}, fmt.Errorf("seal %s: %w", s, err)
	}
	return sealed, nil
}

func sealShare(s Share, k *ecdh.PublicKey) (SealedShare, error) {
	if err := checkCurve(k); err != nil {
		return SealedShare{}, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	public, err := hpke.NewDHKEMPublicKey(k)
	if err != nil {
		return SealedShare{}, err
	}
	sealed := SealedShare{
		Backup: fmt.Sprintf("%x", s.manifest), Number: s.Number, Holder: s.Holder, Recipient: Fingerprint(k),
	}
	encapsulated, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.ExportOnly(), shareInfo(sealed))
	if err != nil {
		return SealedShare{}, err
	}
	aead, err := shareAEAD(sender)
	if err != nil {
		return SealedShare{}, err
	}
	sealed.sealed = aead.Seal(encapsulated, nil, s.value()[:], nil)
	return sealed, nil
}

// exporter is one end of an HPKE context: RFC 9180 §5.3.
type exporter interface {
	// Export derives a secret that both ends have; an error is of the length, or
	// of a FIPS 140 module that refuses.
	Export(exporterContext string, length int) ([]byte, error)
}

// shareAEAD is AES-256-GCM under the context's exported secret. HPKE's own AEADs
// count their nonces outside the FIPS 140 module, which v1.0.0 of it refuses.
func shareAEAD(e exporter) (cipher.AEAD, error) {
	k, err := e.Export(labelShare, 32)
	if err != nil {
		return nil, fmt.Errorf("export key of share: %w", err)
	}
	return sealer(k)
}

// shareInfo binds a sealed share to its place (RFC 9180 §5.1, info).
func shareInfo(s SealedShare) []byte {
	return fmt.Appendf(nil, "%s\n%s\n%d\n%s", labelShare, s.Backup, s.Number, s.Recipient)
}

func checkCurve(k *ecdh.PublicKey) error {
	if k == nil {
		return errors.New("no key")
	}
	if k.Curve() != ecdh.P256() {
		return fmt.Errorf("key is on %v, want P-256", k.Curve())
	}
	return nil
}

// String is the number and the holder.
func (s Share) String() string { return fmt.Sprintf("share %d (%s)", s.Number, s.Holder) }

// Format prints String for every verb.
func (s Share) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue makes slog print String.
func (s Share) LogValue() slog.Value { return slog.StringValue(s.String()) }
