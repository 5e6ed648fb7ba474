package exposure

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
)

const (
	// maxLine bounds a line, and a record of a CloudTrail file, in bytes.
	maxLine = 1 << 20
	// window is how much of a file is looked at to tell its format, in bytes.
	window = 64 << 10
	// defaultMaxBytes is 64 GiB.
	defaultMaxBytes = 64 << 30
	// keptProblems is how many bad lines of a file are described.
	keptProblems = 5
)

// Options say what a log is and what of it is wanted.
type Options struct {
	// Name is what errors and the report call the log.
	Name string
	// Format is what it is written in. Empty: its first lines tell.
	Format Format
	// Since and Until bound the time: from Since on, and before Until. Zero: no
	// bound.
	Since, Until time.Time
	// MaxBytes bounds the file, unpacked. 0: 64 GiB.
	MaxBytes int64
}

// Report says what became of the lines of a log. Lines is the sum of the six
// counts that follow it.
type Report struct {
	File        string   `json:"file"`
	Format      Format   `json:"format,omitempty"` // empty: the file is
	Lines       int64    `json:"lines"`            // blank lines and comments left out
	Fetches     int64    `json:"fetches"`
	NotModified int64    `json:"not_modified"` // status 304
	Refused     int64    `json:"refused"`      // any other status
	Outside     int64    `json:"outside"`      // of the time that was asked for
	Other       int64    `json:"other"`        // no fetch: another method, another event
	Bad         int64    `json:"bad"`          // not of the format
	Problems    []*Error `json:"problems,omitempty"`
}

// Log is one log that is being read.
type Log struct {
	in     io.Reader
	o      Options
	report Report
}

// Read begins to read one log. Nothing is read before [Log.All] runs.
func Read(r io.Reader, o Options) *Log {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	return &Log{in: r, o: o, report: Report{File: o.Name}}
}

// Report says what was read so far.
func (l *Log) Report() Report {
	r := l.report
	r.Problems = slices.Clone(r.Problems)
	return r
}

// All yields, once, the fetches that succeeded and those answered 304, in the
// order of the log, which need not be that of time. An error is the last thing it
// yields: an *Error of class ErrFormat, ErrTooLarge, ErrUnreadable, ErrCorrupt or,
// in a CloudTrail file alone, ErrTooLong; or the reader's own, wrapped. What came
// before it stands.
func (l *Log) All() iter.Seq2[Fetch, error] {
	return func(yield func(Fetch, error) bool) {
		more := true
		err := l.run(func(f Fetch) bool {
			more = more && yield(f, nil)
			return more
		})
		if err != nil && more {
			yield(Fetch{}, err)
		}
	}
}

// run reads the log to its end, or until yield has enough.
func (l *Log) run(yield func(Fetch) bool) error {
	if l.o.Format != "" && parserOf(l.o.Format) == nil {
		return l.fail(ErrFormat, fmt.Sprintf("there is no format %q", string(l.o.Format)))
	}
	in, err := l.open()
	if err != nil {
		return err
	}
	head, err := in.Peek(window)
	if len(head) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return nil
		}
		return l.failed(err)
	}
	f, ok := l.o.Format, false
	if f == "" {
		if f, ok = detect(head); !ok {
			return l.fail(ErrFormat, "the first lines are of none that is known")
		}
	}
	l.report.Format = f
	if f == CloudTrail && hasRecords(head) {
		err = l.documents(in, yield)
	} else {
		err = l.lines(in, parserOf(f), yield)
	}
	if err == nil && l.report.Lines > 0 && l.report.Bad == l.report.Lines {
		return l.fail(ErrUnreadable, fmt.Sprintf("%d lines, and the first is wrong because %s",
			l.report.Lines, l.report.Problems[0].Reason))
	}
	return err
}

// open unpacks what is packed, and leaves out a byte order mark.
func (l *Log) open() (*bufio.Reader, error) {
	in := bufio.NewReaderSize(&sticky{in: l.in}, window)
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" { // RFC 1952 §2.3.1
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, l.failed(err)
		}
		in = bufio.NewReaderSize(&bounded{z, l.o.MaxBytes}, window)
	} else {
		in = bufio.NewReaderSize(&bounded{in, l.o.MaxBytes}, window)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	return in, nil
}

// lines reads a log whose records are lines.
func (l *Log) lines(in *bufio.Reader, p parser, yield func(Fetch) bool) error {
	s := lineReader{in: in}
	for {
		line, long, err := s.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return l.failed(err)
		case long:
			l.bad(s.number, ErrTooLong, fmt.Sprintf("over %d bytes", maxLine))
			continue
		}
		if !l.take(p, s.number, string(line), yield) {
			return nil
		}
	}
}

// take sorts one line; it reports whether to go on.
func (l *Log) take(p parser, number int64, line string, yield func(Fetch) bool) bool {
	f, kind, err := p.parse(line)
	switch {
	case err != nil:
		l.bad(number, ErrSyntax, err.Error())
		return true
	case kind == nothing:
		return true
	}
	l.report.Lines++
	switch {
	case kind == other:
		l.report.Other++
	case !l.o.Since.IsZero() && f.Time.Before(l.o.Since), !l.o.Until.IsZero() && !f.Time.Before(l.o.Until):
		l.report.Outside++
	case success(f.Status):
		l.report.Fetches++
		return yield(f)
	case f.Status == notModified:
		l.report.NotModified++
		return yield(f)
	default:
		l.report.Refused++
	}
	return true
}

// bad counts a line that is not of the format.
func (l *Log) bad(number int64, class error, reason string) {
	l.report.Lines++
	l.report.Bad++
	if len(l.report.Problems) < keptProblems {
		l.report.Problems = append(l.report.Problems, &Error{l.o.Name, number, reason, class})
	}
}

func (l *Log) fail(class error, reason string) error {
	return &Error{File: l.o.Name, Reason: reason, Class: class}
}

// failed classes what a reader returned.
func (l *Log) failed(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return l.fail(ErrTooLarge, fmt.Sprintf("over %d bytes", l.o.MaxBytes))
	case damaged(err):
		return l.fail(ErrCorrupt, err.Error())
	}
	return fmt.Errorf("read log %q: %w", l.o.Name, err)
}
