package backup

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// refused checks that a damaged file ends in a class of damage, and that what was
// given out before it is a true beginning of the entries.
func refused(t *testing.T, b *bench, file []byte, code, what string) error {
	t.Helper()
	got, err := b.restore(file, code)
	if err == nil {
		t.Fatalf("%s: not found", what)
	}
	if !slices.ContainsFunc([]error{ErrDamaged, ErrSyntax, ErrVersion, ErrForeign, ErrShare, ErrHolder, ErrTooFew}, func(class error) bool { return errors.Is(err, class) }) {
		t.Fatalf("%s: error without a class: %v", what, err)
	}
	if len(got) > len(b.entries) || !sameEntries(got, b.entries[:len(got)]) {
		t.Fatalf("%s: entries given out that are not the backup's", what)
	}
	return err
}

// TestTamperEveryByte changes one bit of each byte.
func TestTamperEveryByte(t *testing.T) {
	b := makeBackup(t, 2, 3, someEntries(3, 10))
	code := b.code(t, created)
	if got, err := b.restore(b.file, code); err != nil || !sameEntries(got, b.entries) {
		t.Fatalf("unchanged: %v", err)
	}
	for i := range b.file {
		file := bytes.Clone(b.file)
		file[i] ^= 1 << (i % 8)
		got, err := b.restore(file, code)
		if err == nil || len(got) > 0 {
			t.Fatalf("byte %d of %d changed: %d entries, %v", i, len(file), len(got), err)
		}
	}
}

// TestTamperEveryCut cuts a small file after each byte.
func TestTamperEveryCut(t *testing.T) {
	b := makeBackup(t, 2, 2, someEntries(2, 10))
	code := b.code(t, created)
	for n := range b.file {
		if got, err := b.restore(b.file[:n], code); err == nil || len(got) > 0 {
			t.Fatalf("cut after %d of %d bytes: %d entries, %v", n, len(b.file), len(got), err)
		}
	}
}

// pieces are the header and the chunks.
func (b *bench) pieces() [][]byte {
	rest := b.file[b.made.Header.size:]
	return append([][]byte{b.file[:b.made.Header.size]}, slices.Collect(slices.Chunk(rest, chunkSize+overhead))...)
}

func TestTamperChunks(t *testing.T) {
	b := makeBackup(t, 2, 3, someEntries(400, 1000))
	o := makeBackup(t, 2, 3, someEntries(400, 1000))
	code := b.code(t, created)
	p, q := b.pieces(), o.pieces()
	if len(p) < 7 {
		t.Fatalf("%d pieces", len(p))
	}
	last := len(p) - 1
	tests := map[string]struct {
		pieces [][]byte
		reason string
	}{
		"appended byte":             {append(slices.Clone(p), []byte{0}), "chunk 6"},
		"appended file":             {append(slices.Clone(p), p...), "chunk 6"},
		"another file appended":     {append(slices.Clone(p), q...), "chunk 6"},
		"last chunk twice":          {append(slices.Clone(p), p[last]), "chunk 6"},
		"chunk twice":               {slices.Insert(slices.Clone(p), 3, p[2]), "chunk 2"},
		"chunk dropped":             {slices.Delete(slices.Clone(p), 2, 3), "chunk 1"},
		"first chunk dropped":       {slices.Delete(slices.Clone(p), 1, 2), "chunk 0"},
		"chunk of another backup":   {slices.Replace(slices.Clone(p), 2, 3, q[2]), "chunk 1"},
		"end of another backup":     {slices.Replace(slices.Clone(p), last, last+1, q[last]), "chunk 6"},
		"entries of another backup": {append([][]byte{p[0]}, q[1:]...), "chunk 0"},
		"header only":               {p[:1], "chunk 0"},
		"last made first":           {[][]byte{p[0], p[last]}, "chunk 0"},
	}
	for i := 1; i < last; i++ {
		swapped := slices.Clone(p)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		tests["swapped from "+string(rune('0'+i))] = struct {
			pieces [][]byte
			reason string
		}{swapped, "not authentic"}
		tests["cut after chunk "+string(rune('0'+i))] = struct {
			pieces [][]byte
			reason string
		}{p[:i+1], "cut off after this chunk"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := refused(t, b, bytes.Join(tt.pieces, nil), code, name)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%v, want ErrDamaged that says %q", err, tt.reason)
			}
		})
	}
	for border := range last {
		at := len(bytes.Join(p[:border+1], nil))
		for _, d := range []int{-1, 1, overhead, overhead + 1} {
			if n := at + d; n < len(b.file) {
				_ = refused(t, b, b.file[:n], code, "cut beside a border")
			}
		}
	}
}

// TestTamperAppended: the last chunk may be exactly full, and still nothing may
// follow it.
func TestTamperAppended(t *testing.T) {
	record := []byte(`"` + strings.Repeat("y", chunkSize-37-17-2) + `"`)
	b := makeBackup(t, 2, 2, []Entry{{KID: kidOf(1), Key: someEntries(1, 1)[0].Key, Record: record}})
	if n := len(b.pieces()); n != 2 {
		t.Fatalf("%d pieces, want header and one full chunk", n)
	}
	err := refused(t, b, append(bytes.Clone(b.file), 'x'), b.code(t, created), "appended")
	if !strings.Contains(err.Error(), "more follows after the last chunk") {
		t.Errorf("appended: %v", err)
	}
}

// TestTamperHeader: header lines of two backups to the same holders do not mix.
func TestTamperHeader(t *testing.T) {
	o, private := options(t, 2, 3)
	var files [2]bytes.Buffer
	var b [2]*bench
	for i := range b {
		entries := someEntries(3, 10)
		made, err := Write(&files[i], each(entries), o)
		if err != nil {
			t.Fatal(err)
		}
		b[i] = &bench{files[i].Bytes(), made, private, entries}
	}
	code := b[0].code(t, created)
	n := 1 + 1 + 3 + 1 // first line, manifest, shares, factor
	mine, theirs := bytes.SplitAfterN(b[0].file, []byte("\n"), n+1), bytes.SplitAfterN(b[1].file, []byte("\n"), n+1)
	for i := 1; i <= n; i++ {
		mixed := slices.Clone(mine)
		mixed[i] = theirs[i]
		_ = refused(t, b[0], bytes.Join(mixed, nil), code, "line of another backup")
	}
	for i := 2; i < 4; i++ {
		swapped := slices.Clone(mine)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		_ = refused(t, b[0], bytes.Join(swapped, nil), code, "shares swapped")
	}
	// The master of one reads nothing of the other.
	_, err := b[0].unlocked(t).Verify(bytes.NewReader(b[1].file))
	if !errors.Is(err, ErrForeign) {
		t.Errorf("another backup: %v, want ErrForeign", err)
	}
}

// TestTamperShareUnused: a changed share is found by the master too, although the
// others opened the file.
func TestTamperShareUnused(t *testing.T) {
	b := makeBackup(t, 2, 3, someEntries(3, 10))
	u := b.unlocked(t) // by shares 2 and 3
	text, err := b.made.Header.Shares[0].MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b.file, text) + len(text) - 10
	file := bytes.Clone(b.file)
	if file[at] = 'A'; b.file[at] == 'A' {
		file[at] = 'B'
	}
	if _, err := u.Verify(bytes.NewReader(file)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "header was changed") {
		t.Errorf("Verify: %v", err)
	}
}

func TestHeaderRefused(t *testing.T) {
	b := makeBackup(t, 2, 3, nil)
	replace := func(old, new string) []byte {
		if !bytes.Contains(b.file, []byte(old)) {
			t.Fatalf("the file has no %q", old)
		}
		return bytes.Replace(b.file, []byte(old), []byte(new), 1)
	}
	name := `"name":"holder a"`
	tests := map[string]struct {
		file  []byte
		class error
	}{
		"empty":                {nil, ErrSyntax},
		"other file":           {[]byte("PK\x03\x04"), ErrSyntax},
		"other text":           {[]byte("hello\n"), ErrSyntax},
		"endless line":         {bytes.Repeat([]byte("x"), 1<<20), ErrSyntax},
		"version 1":            {replace(magic+"\n", "rekey-backup-v1\n"), ErrVersion},
		"CRLF":                 {replace(magic+"\n", magic+"\r\n"), ErrVersion},
		"unknown member":       {replace(`"threshold":2`, `"threshold":2,"x":1`), ErrSyntax},
		"member twice":         {replace(`"threshold":2`, `"threshold":2,"threshold":2`), ErrSyntax},
		"threshold 1":          {replace(`"threshold":2`, `"threshold":1`), ErrSyntax},
		"threshold 3":          {replace(`"threshold":2`, `"threshold":3`), ErrSyntax},
		"threshold 4":          {replace(`"threshold":2`, `"threshold":4`), ErrSyntax},
		"negative threshold":   {replace(`"threshold":2`, `"threshold":-2`), ErrSyntax},
		"upper-case id":        {replace(b.made.Header.Manifest.ID, strings.Repeat("A", 32)), ErrSyntax},
		"control character":    {replace(name, `"name":"\u0007"`), ErrSyntax},
		"empty name":           {replace(name, `"name":""`), ErrSyntax},
		"one name twice":       {replace(name, `"name":"holder b"`), ErrSyntax},
		"SHA1":                 {replace(`"algorithm":"SHA256"`, `"algorithm":"SHA1"`), ErrSyntax},
		"other period":         {replace(`"period":30`, `"period":3000000`), ErrSyntax},
		"identity commitment":  {replace(`"commitments":["`, `"commitments":["AA==","`), ErrSyntax},
		"manifest is a number": {[]byte(magic + "\n17\n"), ErrSyntax},
		"manifest is null":     {[]byte(magic + "\nnull\n"), ErrSyntax},
		"short factor":         {replace(`{"sealed_factor":"`, `{"sealed_factor":"AAAA"}`+"\n"), ErrSyntax},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadHeader(bytes.NewReader(tt.file))
			var at *Error
			if !errors.Is(err, tt.class) || !errors.As(err, &at) || at.Offset < 0 || at.Part == "" {
				t.Errorf("ReadHeader: %v, want %v with a place", err, tt.class)
			}
		})
	}
	point := b.made.Header.Manifest
	point.Commitments = [][]byte{{0}, point.Commitments[1]} // infinity
	if point.check() == nil {
		t.Error("the point at infinity is a commitment")
	}
	point.Commitments = [][]byte{bytes.Repeat([]byte{2}, pointSize), append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)}
	if point.check() == nil {
		t.Error("what is no point is a commitment")
	}
}
