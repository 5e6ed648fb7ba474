package aws_test

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

func lower(s string) string { return strings.ToLower(s) }

func allClasses() []error {
	return []error{
		kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
		context.Canceled, context.DeadlineExceeded,
	}
}

// everyCall makes each call of the provider once. name is for Create.
func everyCall(t *testing.T, k kek, name string) map[string]func() error {
	return everyCallIn(t, k, name, t.Context())
}

func everyCallIn(t *testing.T, k kek, name string, ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Wrap": func() error {
			w, err := k.Wrap(ctx, k.id, key.KID{}, key.NewContentKey())
			if err != nil && w != nil {
				t.Error("wrapped bytes beside the error")
			}
			return err
		},
		"Unwrap": func() error {
			c, err := k.Unwrap(ctx, k.id, key.KID{}, []byte("wrapped"))
			if err != nil && !c.IsZero() {
				t.Error("a key beside the error")
			}
			return err
		},
		"Create":              func() error { _, err := k.Create(ctx, name); return err },
		"Describe":            func() error { _, err := k.Describe(ctx, k.id); return err },
		"Disable":             func() error { return k.Disable(ctx, k.id) },
		"Enable":              func() error { return k.Enable(ctx, k.id) },
		"ScheduleDestruction": func() error { _, err := k.ScheduleDestruction(ctx, k.id); return err },
	}
}
