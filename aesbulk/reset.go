package aesbulk

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"reflect"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// counter is where a CTR stream of the standard library keeps its place: the
// counter block it began at, in two words, and how many bytes it has given.
// The zero counter is of no stream.
//
// DANGER: these are pointers to unexported fields of an internal type
// (crypto/internal/fips140/aes.CTR). cipher.NewCTR copies the key schedule into
// every stream, 512 bytes for a sample of perhaps 300, and offers no way back to
// the start. Setting three words instead makes a sample of 350 bytes 4 to 10 times
// as fast, but relies on what is no promise of Go's:
//
//   - Memory stays safe regardless: reflect gives the pointers, and only to
//     fields whose kind is uint64.
//   - The meaning of the fields is not taken on trust. resettable wants the
//     very type, names and kinds it knows, and then compares reset streams with
//     new ones.
//   - Anything else (another Go release, another AES, a foreign cipher.Block)
//     gives no counter, and CTR makes a new stream at every start: slower, never
//     wrong. TestCTRAllocations fails then, so that a Go upgrade does not lose
//     the speed unnoticed.
type counter struct{ high, low, offset *uint64 }

// set moves the stream back to the counter block high‖low, and reports whether
// there is a stream.
func (n counter) set(high, low uint64) bool {
	if n.offset == nil {
		return false
	}
	*n.high, *n.low, *n.offset = high, low, 0
	return true
}

// resettable returns a stream under b with its counter, if the standard library
// is as expected.
func resettable(b cipher.Block) (cipher.Stream, counter, bool) {
	if b.BlockSize() != aes.BlockSize {
		return nil, counter{}, false
	}
	s := cipher.NewCTR(b, make([]byte, aes.BlockSize))
	n, ok := locate(s)
	if !ok || !obeys(b, s, n) {
		return nil, counter{}, false
	}
	key.WipeLater(s)
	return s, n, true
}

// locate finds the counter of s: in Go 1.24 to 1.26, s is a struct of one
// pointer to struct { b Block; ivlo, ivhi, offset uint64 }.
func locate(s cipher.Stream) (counter, bool) {
	v := reflect.ValueOf(s)
	if v.Kind() != reflect.Struct || v.NumField() != 1 || v.Type().PkgPath() != "crypto/cipher" {
		return counter{}, false
	}
	p := v.Field(0)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return counter{}, false
	}
	v = p.Elem()
	// A frozen FIPS 140 module has its version in the path.
	path := v.Type().PkgPath()
	if v.Type().Name() != "CTR" || v.NumField() != 4 ||
		!strings.HasPrefix(path, "crypto/internal/fips140/") || !strings.HasSuffix(path, "/aes") {
		return counter{}, false
	}
	n := counter{high: word(v, "ivhi"), low: word(v, "ivlo"), offset: word(v, "offset")}
	return n, n.high != nil && n.low != nil && n.offset != nil
}

// word is the address of a field of v; nil if it is not there or not a uint64.
func word(v reflect.Value, name string) *uint64 {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Kind() != reflect.Uint64 || !f.CanAddr() {
		return nil
	}
	return (*uint64)(f.Addr().UnsafePointer())
}

// obeys reports whether s, set by n, gives what new streams under b give. Every
// turn leaves it at another place, in mid-block, for the next one to start from;
// the lengths pass through all its code for whole runs, tails and partial
// blocks.
func obeys(b cipher.Block, s cipher.Stream, n counter) bool {
	const longest = 16*aes.BlockSize - 1
	var iv [aes.BlockSize]byte
	var got, want, zero [longest]byte
	for _, try := range [...]struct {
		high, low uint64
		length    int
	}{
		{0x0123456789abcdef, 0x02468ace13579bdf, longest},
		{0, 0, 1},
		{1<<64 - 1, 1<<64 - 3, 7*aes.BlockSize + 5}, // the counter wraps whole
		{0x8000000000000000, 1<<64 - 1, 2*aes.BlockSize + 9},
		{0x0123456789abcdef, 0x02468ace13579bdf, longest},
	} {
		binary.BigEndian.PutUint64(iv[:8], try.high)
		binary.BigEndian.PutUint64(iv[8:], try.low)
		plain := cipher.NewCTR(b, iv[:])
		key.WipeLater(plain)
		plain.XORKeyStream(want[:try.length], zero[:try.length])
		n.set(try.high, try.low)
		cut := min(5, try.length)
		s.XORKeyStream(got[:cut], zero[:cut])
		s.XORKeyStream(got[cut:try.length], zero[cut:try.length])
		if !bytes.Equal(got[:try.length], want[:try.length]) {
			return false
		}
	}
	return true
}
