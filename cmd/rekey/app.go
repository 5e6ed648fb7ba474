package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/hibiken/asynq"
	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flags          struct {
		media, control, redis, config, masterKey, handover string
		json, verbose                                      bool
	}
	cfg config
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "rekey",
		Short:         "Make every asset that used a leaked content key useless to whoever holds that key",
		Long:          "rekey finds every asset that used a leaked content key, re-encrypts it under new\nkeys, flips its manifests so that no viewer sees a mix, and proves the result.\n\n" + exitHelp,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.configure() },
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%v", err) })
	f := root.PersistentFlags()
	f.StringVar(&a.flags.media, "media", "", "media root: a directory or s3://bucket/prefix")
	f.StringVar(&a.flags.control, "control", "", "rekey's own state, outside the media root (directory default: <media>-control)")
	f.StringVar(&a.flags.redis, "redis", "", "Redis, host:port or redis://… (absent: in this process)")
	f.StringVar(&a.flags.config, "config", "", "config file (default: rekey.yaml where it exists)")
	f.StringVar(&a.flags.masterKey, "master-key", "", "file of the local KEK, made 0600 on first use (default: rekey/master.key in the user's config folder)")
	f.StringVar(&a.flags.handover, "handover", "", "who gets new CENC keys: none, or a command that reads KID:KEY lines")
	f.BoolVar(&a.flags.json, "json", false, "print JSON")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "log what is done")
	root.AddCommand(
		a.demoCommand(), a.keysCommand(), a.scanCommand(), a.scopeCommand(), a.compromiseCommand(),
		a.rotateCommand(), a.scheduleCommand(), a.workerCommand(), a.statusCommand(), a.resumeCommand(),
		a.verifyCommand(), a.serveCommand(), a.fileCommand(openCENC),
	)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
		for _, sub := range c.Commands() {
			sub.Args = usageArgs(sub.Args)
		}
	}
	return root
}

// usageArgs makes a wrong number of arguments bad usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() {
			return usagef("%s needs one of its subcommands", cmd.CommandPath())
		}
		if err := check(cmd, args); err != nil {
			return usagef("%v", err)
		}
		return nil
	}
}

// configure joins the config file, the environment and the flags.
func (a *app) configure() error {
	name := first(a.flags.config, os.Getenv("REKEY_CONFIG"))
	c, err := loadConfig(name)
	if err != nil {
		return err
	}
	c.Media = first(a.flags.media, os.Getenv("REKEY_MEDIA"), c.Media)
	c.Control = first(a.flags.control, os.Getenv("REKEY_CONTROL"), c.Control)
	c.Redis = first(a.flags.redis, os.Getenv("REKEY_REDIS"), c.Redis)
	c.MasterKey = first(a.flags.masterKey, os.Getenv("REKEY_MASTER_KEY_FILE"), c.MasterKey)
	if h := first(a.flags.handover, os.Getenv("REKEY_HANDOVER")); h != "" {
		if err := c.Handover.set(h); err != nil {
			return err
		}
	}
	a.cfg = c
	return nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (a *app) log() *slog.Logger {
	level := slog.LevelWarn
	if a.flags.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// open makes the engine over the configured stores and keys.
func (a *app) open(ctx context.Context) (*rotation.Engine, error) {
	if err := a.cfg.places(); err != nil {
		return nil, err
	}
	media, err := store.Open(ctx, a.cfg.Media)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrLocation) {
		return nil, usagef("open media root: %v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open media root: %w", err)
	}
	if !isS3(a.cfg.Control) {
		if err := os.MkdirAll(a.cfg.Control, 0o700); err != nil {
			return nil, fmt.Errorf("make control prefix: %w", err)
		}
	}
	control, err := store.Open(ctx, a.cfg.Control)
	if err != nil {
		return nil, fmt.Errorf("open control prefix: %w", err)
	}
	file, err := a.masterKeyFile()
	if err != nil {
		return nil, err
	}
	kek, err := kms.OpenLocal(file)
	if err != nil {
		return nil, fmt.Errorf("open local KEK: %w", err)
	}
	space, err := catalog.NewSpace(a.cfg.Origins, a.cfg.External)
	if err != nil {
		return nil, usagef("read config: origins, external: %v", err)
	}
	actor := actorName()
	trail := audit.New(control, time.Now, actor)
	e := &rotation.Engine{
		Media: media, Control: control, Audit: trail, Actor: actor,
		Ring:  keyring.New(control, kek, trail, time.Now),
		Clock: time.Now, Log: a.log(), Owner: ownerName(actor),
		Space: space, NewKeyURIs: a.cfg.NewKeyURI,
		HandoverNone: a.cfg.Handover.None, Lease: time.Duration(a.cfg.Lease),
	}
	if len(a.cfg.Handover.Command) > 0 {
		e.Receiver = commandReceiver{argv: a.cfg.Handover.Command, stderr: a.stderr}
	}
	return e, nil
}

func (a *app) masterKeyFile() (string, error) {
	if a.cfg.MasterKey != "" {
		return a.cfg.MasterKey, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no place for the local KEK: %v; --master-key", err)
	}
	return filepath.Join(dir, "rekey", "master.key"), nil
}

// actorName is who the audit record names.
func actorName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "uid" + fmt.Sprint(os.Getuid()) + "@" + host
}

// ownerName tells two processes of one actor apart.
func ownerName(actor string) string {
	var b [4]byte
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%s/%d-%s", actor, os.Getpid(), hex.EncodeToString(b[:]))
}

// newWorker is the worker of an engine.
func newWorker(e *rotation.Engine, readBack bool) *worker.Worker {
	return &worker.Worker{
		Media: e.Media, Journal: e.Journal(), Keys: e.Ring, Name: e.Owner,
		Clock: e.Clock, Log: e.Log, ReadBack: readBack,
	}
}

// attachQueue gives the engine its queue. Without Redis one is started in this
// process, with workers. The returned function stops them.
func (a *app) attachQueue(ctx context.Context, e *rotation.Engine) (asynq.RedisConnOpt, func() error, error) {
	if a.cfg.Redis != "" {
		conn, err := queue.Open(a.cfg.Redis)
		if err != nil {
			return nil, nil, err
		}
		c := queue.NewClient(conn)
		if err := c.Ping(); err != nil {
			return nil, nil, err
		}
		e.Queue = c
		return conn, c.Close, nil
	}
	// The in-process Redis outlives an interrupt, so that workers can end well.
	local, cancel := context.WithCancel(context.WithoutCancel(ctx))
	conn, err := queue.StartLocal(local)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	c := queue.NewClient(conn)
	e.Queue = c
	ended := make(chan error, 1)
	serve, stop := context.WithCancel(ctx)
	go func() {
		ended <- queue.Serve(serve, conn, newWorker(e, false), nil, queue.ServerOptions{Log: e.Log})
	}()
	return conn, func() error {
		stop()
		err := <-ended
		_ = c.Close()
		cancel()
		return err
	}, nil
}
