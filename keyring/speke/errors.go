package speke

import "errors"

// The classes of this package's errors, but for those of the context. Only
// ErrUnavailable passes with time, and only it is tried again.
var (
	// ErrAsk: the client's settings or what it is to ask are not usable; nothing
	// was sent.
	ErrAsk = errors.New("not a SPEKE request")
	// ErrRefused: the provider does not take this request, or this caller (4xx).
	ErrRefused = errors.New("SPEKE provider refuses")
	// ErrUnavailable: the provider is out of reach, slow, busy (408, 429) or
	// broken (5xx).
	ErrUnavailable = errors.New("SPEKE provider unavailable")
	// ErrContract: there is an answer, and it is not what was asked.
	ErrContract = errors.New("SPEKE answer is not what was asked")
)
