package dash

import "math"

// period is one Period and its duration.
type period struct {
	node  *node
	nanos uint64
	known bool
}

// periods reads the durations: of the Period itself, else up to the next start
// or the end of the presentation (ISO/IEC 23009-1 §5.3.2.1).
func (r *reader) periods() ([]period, error) {
	total, hasTotal, err := r.duration(r.root, "mediaPresentationDuration")
	if err != nil {
		return nil, err
	}
	nodes := r.root.named("Period")
	list := make([]period, len(nodes))
	starts, known := make([]uint64, len(nodes)+1), make([]bool, len(nodes)+1)
	known[0] = true
	for i, n := range nodes {
		list[i].node = n
		start, ok, err := r.duration(n, "start")
		if err != nil {
			return nil, err
		}
		if ok {
			starts[i], known[i] = start, true
		}
		if list[i].nanos, list[i].known, err = r.duration(n, "duration"); err != nil {
			return nil, err
		}
		if known[i] && list[i].known && starts[i] <= math.MaxUint64-list[i].nanos {
			starts[i+1], known[i+1] = starts[i]+list[i].nanos, true
		}
	}
	if hasTotal {
		starts[len(nodes)], known[len(nodes)] = total, true
	}
	for i := range list {
		if !list[i].known && known[i] && known[i+1] && starts[i+1] >= starts[i] {
			list[i].nanos, list[i].known = starts[i+1]-starts[i], true
		}
	}
	return list, nil
}

func (r *reader) duration(n *node, name string) (uint64, bool, error) {
	a := n.attribute(name)
	if a == nil {
		return 0, false, nil
	}
	d, ok := parseDuration(a.value)
	if !ok {
		return 0, false, r.fail(ErrMalformed, a.at.start, "%s is not an xs:duration of days, hours, minutes and seconds", name)
	}
	return d, true, nil
}
