//go:build !fipsonly

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/rotation"
)

// foldEvery is how often new records enter the tree.
const foldEvery = 5 * time.Second

// signer is what signs checkpoints; nil where no signing key is named.
func (a *app) signer(ctx context.Context, e *rotation.Engine) (*audit.Signer, error) {
	file := first(a.flags.signingKey, a.cfg.SigningKey)
	if file == "" {
		e.Log.Warn("no signing key: no API, no roles, and the audit log is not sequenced here")
		return nil, nil
	}
	s, err := openSigner(ctx, e.Control, file, signerName)
	if err == nil {
		_, err = fmt.Fprintf(a.stderr, "verifier key of the audit log: %s\n", s.VerifierKey())
	}
	return s, err
}

// attachAPI gives the pages their API, and starts the sequencer, where there is a
// signer. Both end with ctx.
func (a *app) attachAPI(ctx context.Context, e *rotation.Engine, signer *audit.Signer, o *dashboard.Options) error {
	if signer == nil {
		return nil
	}
	set, _, err := a.providers(ctx)
	if err != nil {
		return err
	}
	ao, err := a.accessOptions(ctx, &keyroom{control: e.Control, audit: e.Audit})
	if err != nil {
		return err
	}
	ao.Fault = dashboard.LogFault(e.Log)
	restorer, err := dashboard.NewRestorer(e.Control, time.Now)
	if err != nil {
		return err
	}
	identities := access.NewIdentities(ao)
	o.API = &dashboard.API{
		Identities: identities, Approvals: access.NewApprovals(identities, access.ApprovalOptions{}),
		Engine: e, Control: e.Control, Audit: e.Audit, Restore: restorer, KEKs: set,
	}
	return a.startSequencer(ctx, e, signer)
}

// startSequencer folds the audit log into its tree until ctx ends.
func (a *app) startSequencer(ctx context.Context, e *rotation.Engine, signer *audit.Signer) error {
	so := audit.SequencerOptions{Store: e.Control, Signer: signer, Owner: e.Owner}
	for _, to := range a.cfg.Checkpoints {
		s, err := openShipper(ctx, to)
		if err != nil {
			return err
		}
		so.Shippers = append(so.Shippers, s)
	}
	go func() {
		_ = audit.NewSequencer(so).Run(ctx, foldEvery, func(err error) {
			e.Log.Warn("audit log was not sequenced", "error", err)
		})
	}()
	return nil
}
