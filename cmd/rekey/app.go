package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flags          struct {
		media, control, redis, config, masterKey, handover string
		server, token, signingKey                          string
		json, verbose                                      bool
	}
	cfg    config
	failed *failures
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
	f.StringVar(&a.flags.server, "server", "", "URL of the rekey serve that does what needs roles and a second person (REKEY_SERVER)")
	f.StringVar(&a.flags.token, "token-file", "", "file (0600) of the token for --server (REKEY_TOKEN_FILE)")
	f.StringVar(&a.flags.signingKey, "signing-key", "", "file of the key that signs checkpoints, identities and approvals, made 0600 on first use; for rekey serve alone")
	f.BoolVar(&a.flags.json, "json", false, "print JSON")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "log what is done")
	root.AddCommand(a.keysCommand(), a.kekCommand(), a.auditCommand(), a.identityCommand(), a.fileCommand(openCENC))
	root.AddCommand(a.approvalCommands()...)
	root.AddCommand(a.rotationCommands()...)
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
