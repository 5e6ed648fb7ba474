package strictjson

import (
	"errors"
	"strings"
	"testing"
)

type inner struct {
	N int `json:"n"`
}

type outer struct {
	Name string  `json:"name"`
	In   inner   `json:"in"`
	List []inner `json:"list"`
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, in string
		offset   int64 // good: 0 and no reason
		reason   string
	}{
		{"good", `{"name":"a","in":{"n":1},"list":[{"n":1},{"n":2}]}`, 0, ""},
		{"white space", " {\"name\" : \"a\"}\r\n\t ", 0, ""},
		{"empty", ``, 0, "unexpected end"},
		{"blank", "  \n", 3, "unexpected end"},
		{"cut", `{"name":"a"`, 11, "unexpected end"},
		{"bad syntax", `{"name":x}`, 9, "invalid character"},
		{"trailing value", `{"name":"a"} {}`, 14, "after top-level value"},
		{"trailing rubbish", `{"name":"a"}}`, 13, "after top-level value"},
		{"unknown name", `{"nome":"a"}`, -1, `unknown field "nome"`},
		{"other case", `{"Name":"a"}`, 7, "unknown member name"},
		{"folded case", `{"\u212Aind":"a"}`, 12, "unknown member name"},
		{"twice", `{"name":"a","name":"b"}`, 18, `member "name" twice`},
		{"twice within", `{"list":[{"n":1},{"n":1,"n":2}]}`, 27, `member "n" twice`},
		{"wrong kind", `{"name":1}`, 9, `member "name" may not be a JSON number`},
		{"not an object", `[]`, 1, "may not be a JSON array"},
		{"too deep", strings.Repeat("[", 100) + strings.Repeat("]", 100), 65, "nested too deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v outer
			err := Decode([]byte(tt.in), &v)
			if tt.reason == "" {
				if err != nil {
					t.Fatalf("Decode: %v", err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Decode: %v, want an *Error", err)
			}
			if e.Offset != tt.offset || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("offset %d: %s; want %d: …%s…", e.Offset, e.Reason, tt.offset, tt.reason)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","in":{"n":1},"list":[{"n":1}]}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Add([]byte(`[[[[{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v outer
		err := Decode(b, &v)
		if err == nil {
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		if e.Offset < -1 || e.Offset > int64(len(b))+1 {
			t.Fatalf("offset %d of %d bytes", e.Offset, len(b))
		}
	})
}
