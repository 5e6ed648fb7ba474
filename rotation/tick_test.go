package rotation_test

import (
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/rotation"
)

func TestNominalIsTheNewestTick(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ cron, now, want string }{
		{"* * * * *", "2026-03-01T10:00:59Z", "2026-03-01T10:00:00Z"},
		{"0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-01T03:00:00Z"},
		{"0 3 * * *", "2026-03-01T02:59:59Z", "2026-02-28T03:00:00Z"},
		{"@monthly", "2026-03-31T12:00:00Z", "2026-03-01T00:00:00Z"},
		{"0 0 29 2 *", "2027-01-01T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"*/15 * * * *", "2026-03-01T11:14:00+02:00", "2026-03-01T09:00:00Z"},
	} {
		got, err := rotation.Policy{Name: "p", Cron: c.cron}.Nominal(at(c.now))
		if err != nil || !got.Equal(at(c.want)) {
			t.Errorf("tick of %q at %s: %s, %v, want %s", c.cron, c.now, got, err, c.want)
		}
	}
	if _, err := (rotation.Policy{Name: "p", Cron: "61 * * * *"}).Nominal(at("2026-03-01T10:00:00Z")); err == nil {
		t.Error("a cron that is none gives no error")
	}
}
