package watch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
)

// Parts of a round, as rekey_watch_errors_total has them.
const (
	partCheckpoint = "checkpoint"
	partAudit      = "audit"
	partOrigins    = "origins"
	partKeys       = "keys"
)

// other stands for every label value that is not in a table: what others write
// must not make series.
const other = "other"

func actions() []string {
	return []string{
		audit.KeyImport, audit.KeyCreate, audit.KeyWrap, audit.KeyUnwrap, audit.KeyState, audit.KeyExport,
		audit.KeyRefuse, audit.KeyBackup, audit.KeyRestore, audit.KeyDestroy, audit.KeyRewrap,
		audit.KEKCreate, audit.KEKRotate, audit.KEKDisable, audit.KEKEnable, audit.KEKDestroy,
		audit.RoleGrant, audit.RoleRevoke, audit.RoleRefuse,
		audit.ApprovalRequest, audit.ApprovalGrant, audit.ApprovalRefuse, audit.ApprovalUse,
		audit.MediaPublish, audit.MediaPurge, audit.MediaRollback, audit.CPIXExchange, other,
	}
}

func outcomes() []string {
	return []string{audit.Allowed, audit.Refused, audit.Failed, audit.Exists, audit.Unchanged, other}
}

// areas are the first words of actions.
func areas() []string { return []string{"key", "kek", "role", "approval", other} }

func schemes() []string { return []string{"local", "aws-kms", "gcp-kms", "vault", "pkcs11", other} }

type metrics struct {
	lastRound, tailStart prometheus.Gauge
	errors               *prometheus.CounterVec // part

	records    *prometheus.CounterVec // action, outcome
	unreadable prometheus.Counter
	refused    *prometheus.CounterVec // area
	compromise *prometheus.CounterVec // use
	events     *prometheus.CounterVec // event
	eventAt    *prometheus.GaugeVec   // event

	origins, learning prometheus.Gauge

	keys                                    *prometheus.GaugeVec // state
	keysNear, keysExpired, keysBad, keyNext prometheus.Gauge

	kms *prometheus.CounterVec // scheme, class

	checkpointSize, checkpointAt      prometheus.Gauge
	unsequencedSince, unsequencedMost prometheus.Gauge

	hookSent, hookFailed, hookDropped prometheus.Counter
	hookWaiting                       prometheus.Gauge
}

// newMetrics registers all of them, each series that there can be at zero: an
// increase from nothing to one is none to Prometheus.
func newMetrics(r *prometheus.Registry) (*metrics, error) {
	b := builder{r: r}
	m := &metrics{
		lastRound: b.gauge("watch_last_round_timestamp_seconds", "When the watcher last read everything without an error; 0: never."),
		tailStart: b.gauge("watch_tail_start_timestamp_seconds", "From what time on audit records count in this process's counters."),
		errors:    b.counters("watch_errors_total", "Looks that failed, by what was looked at.", "part"),

		records:    b.counters("audit_records_total", "Audit records of all writers.", "action", "outcome"),
		unreadable: b.counter("audit_unreadable_total", "Times that audit records were found that do not read."),
		refused:    b.counters("refused_total", "Audit records of something refused, by the area of the action.", "area"),
		compromise: b.counters("compromised_unwraps_total", "Refused uses of compromised keys: outside a rotation of the key, by the use.", "use"),
		events:     b.counters("events_total", "Events that the watcher noticed.", "event"),
		eventAt:    b.gauges("event_last_timestamp_seconds", "When the watcher last noticed such an event; 0: never.", "event"),

		origins:  b.gauge("origins_known", "Pairs of actor and place that opened keys lately."),
		learning: b.gauge("origins_learning", "1 while every origin is still taken for known."),

		keys:        b.gauges("keys", "Keys by the state that counts now.", "state"),
		keysNear:    b.gauge("keys_near_expiry", "Active keys that expire soon."),
		keysExpired: b.gauge("keys_expired", "Keys whose time is up and that are neither compromised nor destroyed: media may still be under them."),
		keysBad:     b.gauge("key_records_unreadable", "Key records that do not read."),
		keyNext:     b.gauge("keys_next_expiry_timestamp_seconds", "When the next active key expires; 0: none does."),

		kms: b.counters("kms_errors_total", "Errors of key services in this process, each try counted.", "scheme", "class"),

		checkpointSize:   b.gauge("checkpoint_size", "Entries under the newest signed checkpoint."),
		checkpointAt:     b.gauge("checkpoint_timestamp_seconds", "When the newest signed checkpoint was written; 0: none is known."),
		unsequencedSince: b.gauge("unsequenced_since_timestamp_seconds", "Time of the oldest record that is under no checkpoint yet; 0: there is none."),
		unsequencedMost:  b.gauge("unsequenced_records", "At most so many records are under no checkpoint yet."),

		hookSent:    b.counter("webhook_sent_total", "Events that the webhook took."),
		hookFailed:  b.counter("webhook_failures_total", "Tries to post an event that failed."),
		hookDropped: b.counter("webhook_dropped_total", "Events that were given up."),
		hookWaiting: b.gauge("webhook_waiting", "Events that wait to be posted."),
	}
	m.begin()
	return m, b.err
}

func (m *metrics) begin() {
	for _, p := range []string{partCheckpoint, partAudit, partOrigins, partKeys} {
		m.errors.WithLabelValues(p)
	}
	for _, a := range actions() {
		for _, o := range outcomes() {
			m.records.WithLabelValues(a, o)
		}
	}
	for _, a := range areas() {
		m.refused.WithLabelValues(a)
	}
	for _, u := range append(keyring.Uses(), other) {
		m.compromise.WithLabelValues(string(u))
	}
	for _, e := range Events() {
		m.events.WithLabelValues(e)
		m.eventAt.WithLabelValues(e)
	}
	for _, s := range keyring.States() {
		m.keys.WithLabelValues(string(s))
	}
	for _, s := range schemes() {
		for _, c := range kmsClasses() {
			m.kms.WithLabelValues(s, c)
		}
	}
}

// builder makes and registers metrics; the first error stays.
type builder struct {
	r   *prometheus.Registry
	err error
}

func (b *builder) register(c prometheus.Collector) {
	if err := b.r.Register(c); err != nil && b.err == nil {
		b.err = err
	}
}

func (b *builder) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "rekey", Name: name, Help: help})
	b.register(c)
	return c
}

func (b *builder) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "rekey", Name: name, Help: help}, labels)
	b.register(c)
	return c
}

func (b *builder) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "rekey", Name: name, Help: help})
	b.register(g)
	return g
}

func (b *builder) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "rekey", Name: name, Help: help}, labels)
	b.register(g)
	return g
}

// seconds is a time as Prometheus has it; the zero time is 0.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
