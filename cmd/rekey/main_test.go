package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/rotation"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rekey": main})
}

// TestScripts runs the command line as other people's scripts do.
func TestScripts(t *testing.T) {
	packaged, err := filepath.Abs("../../fixtures/cenc")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("REKEY_TEST_PACKAGED", packaged)
			e.Setenv("REKEY_MASTER_KEY_FILE", filepath.Join(e.WorkDir, "master.key"))
			e.Setenv("REKEY_MEDIA", filepath.Join(e.WorkDir, "media"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"library": layOutLibrary, "packaged": layOutPackaged, "exits": exits, "last": last,
			"bytes": writeBytes, "cmpbytes": compareBytes, "taken": takeOutput,
		},
	})
}

// layOutLibrary writes the fixtures: library DIR [asset beside the library...].
// An asset is laid out as a live one, which rekey refuses by name, if it is asked
// for as live=NAME.
func layOutLibrary(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(dir, fixtures.Library()))
	for _, name := range args[1:] {
		name, live := strings.CutPrefix(name, "live=")
		sub, err := fs.Sub(fixtures.More(), name)
		ts.Check(err)
		ts.Check(os.CopyFS(filepath.Join(dir, name), sub))
		if live {
			mpd := filepath.Join(dir, name, "stream.mpd")
			b, err := os.ReadFile(mpd)
			ts.Check(err)
			ts.Check(os.WriteFile(mpd, bytes.Replace(b, []byte(`type="static"`), []byte(`type="dynamic"`), 1), 0o600))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs("keys.txt"), fixtures.Keys(), 0o600))
}

// layOutPackaged copies what another packager wrote, and its keys: packaged NAME
// DIR KEYS
func layOutPackaged(ts *testscript.TestScript, _ bool, args []string) {
	cases, err := fixtures.CENC(ts.Getenv("REKEY_TEST_PACKAGED"))
	ts.Check(err)
	for _, c := range cases {
		if c.Name != args[0] {
			continue
		}
		ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(c.Dir)))
		var lines strings.Builder
		for _, m := range c.Media {
			for _, k := range m.Keys {
				lines.WriteString(k.KID + ":" + k.Key + "\n")
			}
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(lines.String()), 0o600))
		return
	}
	ts.Fatalf("no case %s", args[0])
}

// exits runs the program in this process and checks its code: exits CODE ARG...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("rekey", args[1:]...)
	got := 0
	if err != nil {
		got = exitStatus(err)
	}
	if got != code {
		ts.Fatalf("rekey %v: exit %d, want %d", args[1:], got, code)
	}
}

func exitStatus(err error) int {
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	return -1
}

// last sets ROTATION to the newest rotation, and NEWKID to the last new KID that
// the status of it names for the track: last [TRACK]
func last(ts *testscript.TestScript, _ bool, args []string) {
	dirs, err := os.ReadDir(ts.MkAbs("media-control/rotations"))
	ts.Check(err)
	ts.Setenv("ROTATION", dirs[len(dirs)-1].Name())
	if len(args) == 0 {
		return
	}
	ts.Check(ts.Exec("rekey", "status", ts.Getenv("ROTATION"), "--json"))
	var s rotation.Status
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &s))
	for _, a := range s.Assets {
		for _, t := range a.Tracks {
			if t.Track == args[0] {
				ts.Setenv("NEWKID", t.NewKID.String())
				return
			}
		}
	}
	ts.Fatalf("no track %s in %+v", args[0], s)
}

// takeOutput sets a variable to what the first group of an expression finds in the
// last output: taken NAME EXPRESSION
func takeOutput(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("%q finds nothing in the output", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// writeBytes writes a binary file: bytes FILE HEX
func writeBytes(ts *testscript.TestScript, _ bool, args []string) {
	b, err := hex.DecodeString(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// compareBytes compares a key object with a line KID:KEY: cmpbytes FILE LINE
func compareBytes(ts *testscript.TestScript, _ bool, args []string) {
	_, want, _ := strings.Cut(strings.TrimSpace(ts.ReadFile(args[1])), ":")
	if got := hex.EncodeToString([]byte(ts.ReadFile(args[0]))); got != want {
		ts.Fatalf("%s does not hold the exported key", args[0])
	}
}
