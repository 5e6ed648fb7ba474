package watch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Headers of a POST. The signature is HMAC-SHA256, in hex, under the secret, of
// the timestamp (seconds since 1970, as in its header), a dot and the body.
// Receivers compare it in constant time, and refuse old timestamps.
const (
	TimestampHeader = "Rekey-Timestamp"
	SignatureHeader = "Rekey-Signature"
)

// deliver posts an event, under the second context, and again where that may help
// until the first ends. It reports whether the event is settled, taken or given
// up; else it is still the caller's.
func (h *hook) deliver(ctx, posting context.Context, e Event, tries int) bool {
	body, err := json.Marshal(e)
	if err != nil {
		h.drop(e, err.Error())
		return true
	}
	for try := 1; ; try++ {
		again, err := h.post(posting, body)
		if err == nil {
			h.m.hookSent.Inc()
			return true
		}
		h.m.hookFailed.Inc()
		if !again || try >= tries {
			h.drop(e, err.Error())
			return true
		}
		h.log.Warn("event was not posted", "event", e.Event, "webhook", h.host, "try", try, "error", err)
		h.pause(ctx, min(firstPause<<min(try-1, 16), longestPause))
		if ctx.Err() != nil {
			return false
		}
	}
}

// post reports also whether another try may help.
func (h *hook) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.o.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("make request: URL is not valid")
	}
	stamp := strconv.FormatInt(h.clock().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "rekey")
	req.Header.Set(TimestampHeader, stamp)
	req.Header.Set(SignatureHeader, sign(h.secret, stamp, body))
	resp, err := h.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return true, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode/100 == 5 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return again, fmt.Errorf("answer %d", resp.StatusCode)
}

func sign(secret []byte, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
