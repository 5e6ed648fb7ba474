package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/audit"
)

// Keys of the library, see fixtures.
const (
	shortKID  = "73686f727400000013579bdf02468ace"
	movieKID  = "6d6f766965000000a1b2c3d4e5f60718"
	sharedKID = "736861726564000092a4b6c8dae1f305"
)

// command is a run that is well formed and about something that is there.
type command struct {
	args  []string
	stdin string
	// beside runs with it, until its context ends. It may be nil.
	beside func(context.Context) int
	// makes are files that must not be there.
	makes []string
	// itself runs it in another way. It may be nil.
	itself func() ran
}

func (c command) run(l *roleLab) ran {
	l.t.Helper()
	if c.itself != nil {
		return c.itself()
	}
	if c.beside == nil {
		return l.rekey(l.t.Context(), c.stdin, c.args...)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan int, 1)
	go func() { ended <- c.beside(ctx) }()
	got := l.rekey(l.t.Context(), c.stdin, c.args...)
	cancel()
	if code := <-ended; code != exitDone && code != exitInterrupted {
		l.t.Errorf("what runs beside %q ends with %d", c.args, code)
	}
	return got
}

func args(a ...string) func() command { return func() command { return command{args: a} } }

// commands prepare a run of each command, with a subject of its own.
func (l *roleLab) commands() map[string]func() command {
	return map[string]func() command{
		"keys import": func() command {
			kid := l.kid()
			return command{args: []string{"keys", "import", "-"}, stdin: kid + ":" + l.hex() + "\n"}
		},
		"keys create": args("keys", "create"), "keys list": args("keys", "list"), "keys show": args("keys", "show", sharedKID),
		"keys state": func() command { return l.on(l.ok("keys", "create"), "keys", "state", "KID", "suspended") },
		"keys destroy": func() command {
			kid := l.ok("keys", "create")
			l.ok("keys", "state", kid, "deactivated", "--reason", "test")
			l.ok("scan") // that nothing depends on it has to be seen after that
			return l.on(kid, "keys", "destroy", "KID")
		},
		"keys export": func() command { return l.on(l.ok("keys", "create"), "keys", "export", "KID", "--reveal") },
		"keys backup": func() command {
			v := l.backup()
			return command{args: v.make, makes: []string{v.file, v.enrol}}
		},
		"keys share": func() command {
			b := l.backedUp()
			return command{args: []string{"keys", "share", b.file, "--holder-key", b.keys[0], "--to", b.keys[1] + ".pub"}}
		},
		"keys restore": l.restored,

		"kek list":    args("kek", "list"),
		"kek create":  func() command { return l.on(l.fresh("made"), "kek", "create", "KID") },
		"kek rotate":  func() command { return l.on(l.fresh("next"), "kek", "rotate", "--create", "KID") },
		"kek disable": func() command { return l.on(l.ok("kek", "create", l.fresh("spare")), "kek", "disable", "KID") },
		"kek enable":  func() command { return l.on(l.ok("kek", "create", l.fresh("spare")), "kek", "enable", "KID") },
		"kek destroy": func() command { return l.on(l.ok("kek", "create", l.fresh("spare")), "kek", "destroy", "KID") },

		"audit export": args("audit", "export"), "audit tail": args("audit", "tail"),
		"audit sequence": func() command { return command{args: l.sequence()} },
		"audit verify": func() command {
			l.ok(l.sequence()...)
			return command{args: []string{"audit", "verify", "--key", l.at("audit.pub")}}
		},
		"audit prove": func() command {
			l.ok(l.sequence()...)
			return command{args: []string{"audit", "prove", l.oldRecord(), "--key", l.at("audit.pub")}}
		},

		"file": l.file, "demo": func() command { return command{args: []string{"demo", "--dir", l.at(l.fresh("demo"))}} },
		"scan": args("scan"), "scope": args("scope", "--kid", sharedKID), "status": args("status"), "verify": args("verify", "other"),
		"compromise": func() command {
			kid := shortKID
			if len(l.tokens) > 0 {
				kid = movieKID
			}
			return command{args: []string{"compromise", "--kid", kid, "--wait", "--reason", "test"}}
		},
		"rotate": args("rotate", "--asset", "other", "--wait", "--reason", "test"),
		"pause":  func() command { return command{args: []string{"pause", l.open("other"), "--reason", "test"}} },
		"cancel": func() command { return command{args: []string{"cancel", l.open("other"), "--reason", "test"}} },
		"clean": func() command {
			id := l.open("other")
			l.ok("cancel", id, "--reason", "test")
			return command{args: []string{"clean", id}}
		},
		"resume": func() command { return command{args: []string{"resume", l.open("other"), "--wait"}} },
		"worker": l.worked, "serve": l.served,
		// Without policies it is bad usage, to everybody.
		"schedule": func() command { return command{args: []string{"schedule", "--redis", l.redis}} },

		"requests": func() command { return command{args: []string{"requests"}} },
		"approve":  func() command { return command{args: []string{"approve", l.asked()}} },
		"refuse":   func() command { return l.on(l.asked(), "refuse", "KID") },

		"identity list":   l.atConsole("identity", "list"),
		"identity grant":  l.atConsole("identity", "grant", "newcomer", "--role", "auditor"),
		"identity revoke": func() command { return l.atConsole("identity", "revoke", l.newcomer(), "--reason", "test")() },
	}
}

// on puts a subject where KID stands, and a reason behind.
func (l *roleLab) on(subject string, words ...string) command {
	var out []string
	for _, w := range words {
		if w == "KID" {
			w = subject
		}
		out = append(out, w)
	}
	return command{args: append(out, "--reason", "test")}
}

// atConsole has the signing key where there is no server to have it.
func (l *roleLab) atConsole(words ...string) func() command {
	return func() command {
		if l.server == "" {
			words = append(words, "--signing-key", l.at("signing.key"))
		}
		return command{args: words}
	}
}

func (l *roleLab) hex() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func (l *roleLab) kid() string { return l.hex() }

// newcomer is an identity that can be revoked.
func (l *roleLab) newcomer() string {
	l.t.Helper()
	var got struct {
		Identity struct{ ID string }
	}
	l.must(json.Unmarshal([]byte(l.ok("identity", "grant", "gone", "--role", "auditor", "--signing-key", l.at("signing.key"), "--json")), &got))
	return got.Identity.ID
}

// asked is a request of the operator's.
func (l *roleLab) asked() string {
	l.t.Helper()
	if l.server == "" {
		return "20261125T035051Z-a7e160401c60e474"
	}
	return strings.TrimSpace(l.by("operator", "", "keys", "export", sharedKID, "--reveal", "--reason", "test").out)
}

// sequence is a pass of the sequencer.
func (l *roleLab) sequence() []string {
	return []string{"audit", "sequence", "--signing-key", l.at("signing.key"), "--verifier-key", l.at("audit.pub")}
}

// oldRecord is the id of a record that is in the tree.
func (l *roleLab) oldRecord() string {
	l.t.Helper()
	var e audit.Entry
	line, _, _ := strings.Cut(l.ok("audit", "tail", "-n", "30", "--json"), "\n")
	l.must(json.Unmarshal([]byte(line), &e))
	return e.ID
}

// file rekeys one file.
func (l *roleLab) file() command {
	l.t.Helper()
	var in bytes.Buffer
	for _, name := range []string{"init.mp4", "001.m4s", "002.m4s"} {
		b, err := os.ReadFile(l.at("media/other/" + l.track() + "/" + name))
		l.must(err)
		in.Write(b)
	}
	keys := l.write("file.keys", []byte("6f746865720000000f1e2d3c4b5a6978:1b84d6f2a05c937ee9472d60c3fb518a "+l.kid()+":"+l.hex()+"\n"))
	return command{args: []string{"file", l.write(l.fresh("in")+".mp4", in.Bytes()), l.at(l.fresh("out") + ".mp4"), "--keys", keys, "--accept-unproved"}}
}

// track is one of the asset other.
func (l *roleLab) track() string { return "video" }

// open is a rotation that nobody has driven.
func (l *roleLab) open(asset string) string {
	l.t.Helper()
	return l.ok("rotate", "--asset", asset, "--redis", l.redis, "--reason", "test")
}

// worked is a rotation whose work a worker does.
func (l *roleLab) worked() command {
	return command{
		args: []string{"resume", l.open("other"), "--wait", "--redis", l.redis},
		beside: func(ctx context.Context) int {
			return l.rekey(ctx, "", "worker", "--redis", l.redis).code
		},
	}
}

// served is a server that comes and goes.
func (l *roleLab) served() command {
	return command{itself: func() ran {
		l.serve()()
		l.server = ""
		return ran{}
	}}
}

// keptBackup is a backup to be, or one that is.
type keptBackup struct {
	file, enrol string
	keys        []string // files of the holders' private keys; of the public ones with .pub
	make        []string
}

func (l *roleLab) backup() keptBackup {
	l.t.Helper()
	v := keptBackup{file: l.at(l.fresh("backup")), enrol: l.at(l.fresh("enrol"))}
	v.make = []string{"keys", "backup", v.file, "--threshold", "2", "--enrol", v.enrol, "--reason", "test"}
	for _, name := range []string{"anna", "ben"} {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		l.must(err)
		private, err := x509.MarshalPKCS8PrivateKey(p)
		l.must(err)
		public, err := x509.MarshalPKIXPublicKey(p.PublicKey())
		l.must(err)
		file := l.fresh(name)
		v.keys = append(v.keys, l.write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
		l.write(file+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		v.make = append(v.make, "--holder", name+"="+l.at(file+".pub"))
	}
	return v
}

// backedUp is a backup that was made before roles were in force.
func (l *roleLab) backedUp() keptBackup {
	l.t.Helper()
	if len(l.tokens) > 0 {
		return l.kept
	}
	v := l.backup()
	l.ok(v.make...)
	return v
}

func (l *roleLab) restored() command {
	l.t.Helper()
	v := l.backedUp()
	url, err := os.ReadFile(v.enrol)
	l.must(err)
	k, err := otp.NewKeyFromURL(strings.TrimSpace(string(url)))
	l.must(err)
	code, err := totp.GenerateCodeCustom(k.Secret(), time.Now(), totp.ValidateOpts{
		Period: uint(k.Period()), Digits: k.Digits(), Algorithm: k.Algorithm(), //nolint:gosec // 30
	})
	l.must(err)
	return command{args: []string{"keys", "restore", v.file, "--holder-key", v.keys[0], "--holder-key", v.keys[1], "--reason", "test"}, stdin: code + "\n"}
}
