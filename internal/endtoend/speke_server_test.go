package endtoend

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	widevineID  = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
	playReadyID = "9a04f079-9840-4286-ab92-e65be0885f95"
	fairPlayID  = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"
	aes256CBC   = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
	oaepSHA1    = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
)

// element is XML as any program reads it: nothing of the module's CPIX is used.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// find walks down by local names, the first of each; the zero element is none.
func (e element) find(names ...string) element {
	for _, n := range names {
		i := slices.IndexFunc(e.Children, func(c element) bool { return c.XMLName.Local == n })
		if i < 0 {
			return element{}
		}
		e = e.Children[i]
	}
	return e
}

func (e element) text() string { return strings.TrimSpace(e.Text) }

func (e element) bytes() []byte {
	b, err := base64.StdEncoding.DecodeString(e.text())
	if err != nil {
		return nil
	}
	return b
}

// exchange is one request, and what of it counts.
type exchange struct {
	content string
	keys    map[string]string // KID, 32 hex digits, to the key that came, in hex; "": to be made
	scheme  map[string]string
	types   map[string]string // of the usage rules
	systems map[string][]string
	cert    *x509.Certificate
	root    element
}

// spekeServer is a key service over loopback HTTP. It checks every request, and
// gives a KID the same random key whenever it is asked.
type spekeServer struct {
	*httptest.Server
	mu        sync.Mutex
	exchanges []exchange
	faults    []string
	keys      map[string][16]byte
	private   *rsa.PrivateKey // pushed keys come encrypted to it
	push      bool
	fairPlay  bool // it wants to be asked for FairPlay, too
	token     string
	arrived   func() // before anything is answered
	// answer is what comes back instead of the right document; nil: the right one.
	answer func(w http.ResponseWriter, r *http.Request, x exchange)
}

func newSPEKEServer(t *testing.T) *spekeServer {
	t.Helper()
	s := &spekeServer{keys: map[string][16]byte{}, token: rand.Text()}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range s.faults {
			t.Error("the key service says: " + f)
		}
	})
	return s
}

func (s *spekeServer) host() string { return strings.TrimPrefix(s.URL, "http://") }

// asked is what came so far.
func (s *spekeServer) asked() []exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.exchanges)
}

// look has a function called for every request, before it is answered.
func (s *spekeServer) look(arrived func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived = arrived
}

func (s *spekeServer) behave(answer func(http.ResponseWriter, *http.Request, exchange)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *spekeServer) fault(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, a...))
}

func (s *spekeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.fault("read: %v", err)
	}
	s.mu.Lock()
	arrived := s.arrived
	s.mu.Unlock()
	if arrived != nil {
		arrived()
	}
	x, err := s.read(r, body)
	if err != nil {
		s.fault("%v:\n%s", err, body)
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.exchanges = append(s.exchanges, x)
	answer := s.answer
	s.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, r, x)
	case s.push:
		w.WriteHeader(http.StatusOK)
	default:
		s.reply(w, s.document(x))
	}
}

func (s *spekeServer) reply(w http.ResponseWriter, doc string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Speke-Version", "2.0")
	_, _ = io.WriteString(w, doc)
}

// namespaces of CPIX 2.3 by the element that may stand in them.
func namespaceOf(local string) string {
	switch local {
	case "Secret", "PlainValue", "EncryptedValue", "ValueMAC", "MACKey":
		return "urn:ietf:params:xml:ns:keyprov:pskc"
	case "X509Data", "X509Certificate":
		return "http://www.w3.org/2000/09/xmldsig#"
	case "EncryptionMethod", "CipherData", "CipherValue":
		return "http://www.w3.org/2001/04/xmlenc#"
	default:
		return "urn:dashif:org:cpix"
	}
}

func (e element) misplaced() error {
	if e.XMLName.Space != namespaceOf(e.XMLName.Local) {
		return fmt.Errorf("%s stands in namespace %q", e.XMLName.Local, e.XMLName.Space)
	}
	for _, c := range e.Children {
		if err := c.misplaced(); err != nil {
			return err
		}
	}
	return nil
}

// read checks a request as SPEKE v2 and CPIX 2.3 have it.
func (s *spekeServer) read(r *http.Request, body []byte) (x exchange, err error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&x.root); err != nil {
		return x, err
	}
	if rest := bytes.TrimSpace(body[d.InputOffset():]); len(rest) > 0 {
		return x, errors.New("something after the document element")
	}
	switch h := r.Header; {
	case r.Method != http.MethodPost || r.URL.Path != "/speke/v2.0":
		return x, errors.New(r.Method + " " + r.URL.Path)
	case h.Get("Content-Type") != "application/xml", h.Get("X-Speke-Version") != "2.0", h.Get("X-Speke-User-Agent") == "":
		return x, fmt.Errorf("headers %v", h)
	case h.Get("Authorization") != "Bearer "+s.token:
		return x, errors.New("not the token")
	case x.root.XMLName.Local != "CPIX" || x.root.attr("version") != "2.3" || x.root.attr("contentId") == "":
		return x, errors.New("not CPIX 2.3 of a content")
	}
	x.content = x.root.attr("contentId")
	if err := x.root.misplaced(); err != nil {
		return x, err
	}
	var order []string
	for _, c := range x.root.Children {
		order = append(order, c.XMLName.Local)
	}
	want := []string{"ContentKeyList", "DRMSystemList", "ContentKeyUsageRuleList"}
	if s.push {
		want = want[:1]
	}
	if cert := x.root.find("DeliveryDataList", "DeliveryData", "DeliveryKey", "X509Data", "X509Certificate").bytes(); len(cert) > 0 {
		if x.cert, err = x509.ParseCertificate(cert); err != nil {
			return x, err
		}
		want = append([]string{"DeliveryDataList"}, want...)
	}
	if !slices.Equal(order, want) {
		return x, fmt.Errorf("the lists are %v, want %v", order, want)
	}
	if err := s.readKeys(&x); err != nil || s.push {
		return x, err
	}
	systems := []string{widevineID, playReadyID}
	if s.fairPlay {
		systems = append(systems, fairPlayID)
	}
	return x, x.readSystems(systems)
}

func (s *spekeServer) readKeys(x *exchange) error {
	x.keys, x.scheme = map[string]string{}, map[string]string{}
	for _, k := range x.root.find("ContentKeyList").Children {
		id := k.attr("kid")
		kid := strings.ReplaceAll(id, "-", "")
		if _, twice := x.keys[kid]; twice || len(id) != 36 || len(kid) != 32 || strings.ToLower(id) != id {
			return fmt.Errorf("kid %q", id)
		}
		if x.scheme[kid] = k.attr("commonEncryptionScheme"); x.scheme[kid] == "" {
			return errors.New("no scheme")
		}
		x.keys[kid] = ""
		secret := k.find("Data", "Secret")
		if !s.push {
			if len(k.Children) != 0 {
				return errors.New("a key in a request for keys")
			}
			continue
		}
		raw := secret.find("PlainValue").bytes()
		if s.private != nil {
			var err error
			if raw, err = s.open(x.root, secret); err != nil {
				return err
			}
		}
		if len(raw) != 16 {
			return fmt.Errorf("a key of %d bytes", len(raw))
		}
		x.keys[kid] = hex.EncodeToString(raw)
	}
	if len(x.keys) == 0 {
		return errors.New("no keys")
	}
	return nil
}

// open undoes the encryption of a pushed key, and checks its MAC.
func (s *spekeServer) open(root, secret element) ([]byte, error) {
	data := root.find("DeliveryDataList", "DeliveryData")
	unwrap := func(e element) ([]byte, error) {
		if e.find("EncryptionMethod").attr("Algorithm") != oaepSHA1 {
			return nil, errors.New("not RSA-OAEP")
		}
		return rsa.DecryptOAEP(sha1.New(), nil, s.private, e.find("CipherData", "CipherValue").bytes(), nil)
	}
	documentKey, err := unwrap(data.find("DocumentKey", "Data", "Secret", "EncryptedValue"))
	if err != nil {
		return nil, err
	}
	macKey, err := unwrap(data.find("MACMethod", "Key"))
	if err != nil {
		return nil, err
	}
	sealed := secret.find("EncryptedValue", "CipherData", "CipherValue").bytes()
	mac := hmac.New(sha512.New, macKey)
	mac.Write(sealed)
	if len(sealed) != 48 || !hmac.Equal(mac.Sum(nil), secret.find("ValueMAC").bytes()) || secret.find("PlainValue").XMLName.Local != "" {
		return nil, errors.New("a key without its MAC, or in the clear")
	}
	block, err := aes.NewCipher(documentKey)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 32)
	cipher.NewCBCDecrypter(block, sealed[:16]).CryptBlocks(out, sealed[16:])
	return out[:16], nil
}

// readSystems wants every system for every key, with an empty PSSH and nothing
// else (FairPlay: the data of media playlists), and one rule with a filter for
// every key, no track type twice.
func (x *exchange) readSystems(systems []string) error {
	x.systems, x.types = map[string][]string{}, map[string]string{}
	for _, d := range x.root.find("DRMSystemList").Children {
		kid := strings.ReplaceAll(d.attr("kid"), "-", "")
		wants, playlist := "PSSH", ""
		if d.attr("systemId") == fairPlayID {
			wants, playlist = "HLSSignalingData", "media"
		}
		if e := d.find(wants); len(d.Children) != 1 || e.XMLName.Local == "" || e.text() != "" || e.attr("playlist") != playlist {
			return errors.New("a DRMSystem that does not ask for " + wants + " alone")
		}
		x.systems[kid] = append(x.systems[kid], d.attr("systemId"))
	}
	seen := map[string]bool{}
	for _, r := range x.root.find("ContentKeyUsageRuleList").Children {
		kid, typ := strings.ReplaceAll(r.attr("kid"), "-", ""), r.attr("intendedTrackType")
		if _, twice := x.types[kid]; twice || typ == "" || seen[typ] || len(r.Children) == 0 {
			return fmt.Errorf("usage rule %s of %s", typ, kid)
		}
		seen[typ], x.types[kid] = true, typ
	}
	for kid := range x.keys {
		if !slices.Equal(x.systems[kid], systems) || x.types[kid] == "" {
			return fmt.Errorf("KID %s has systems %v, track type %q", kid, x.systems[kid], x.types[kid])
		}
	}
	if len(x.systems) != len(x.keys) || len(x.types) != len(x.keys) {
		return errors.New("systems or rules for keys that are not asked for")
	}
	return nil
}

// waits answers when the caller is gone.
func waits(ctx context.Context) func(http.ResponseWriter, *http.Request, exchange) {
	return func(_ http.ResponseWriter, r *http.Request, _ exchange) {
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	}
}
