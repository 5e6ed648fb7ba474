package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/access"
)

// client asks a rekey serve in the name of a token's holder.
type client struct {
	base  string
	token string
	http  *http.Client
}

// remote is the client of --server; nil where none is given.
func (a *app) remote() (*client, error) {
	base := first(a.flags.server, os.Getenv("REKEY_SERVER"), a.cfg.Server)
	if base == "" {
		return nil, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, usagef("--server %q is no https URL (http goes to loopback only)", base)
	}
	file := first(a.flags.token, os.Getenv("REKEY_TOKEN_FILE"))
	if file == "" {
		return nil, usagef("--server needs a token: --token-file or REKEY_TOKEN_FILE")
	}
	token, err := readSecretFile(file)
	if err != nil {
		return nil, err
	}
	return &client{
		base: strings.TrimRight(base, "/"), token: token,
		http: &http.Client{
			Timeout:       10 * time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// need is remote where nothing else will do.
func (a *app) need(what string) (*client, error) {
	c, err := a.remote()
	if err == nil && c == nil {
		err = usagef("%s goes through rekey serve: --server", what)
	}
	return c, err
}

var (
	errRemoteRefused = errors.New("server refused")
	errRemoteAway    = errors.New("server is out of reach")
)

const maxAnswer = 1 << 30 // bytes: a backup in base64

// call sends in as JSON, if it is not nil, and reads the answer into out. request
// names the approval that the call uses.
func (c *client) call(ctx context.Context, method, path, request string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask server: %w", err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("ask server: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	if request != "" {
		r.Header.Set(access.ApprovalHeader, request)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", errRemoteAway, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", errRemoteAway, err)
	}
	defer clear(b)
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read server's answer: %w", err)
	}
	return nil
}

// refusal is what a server said instead of an answer.
func refusal(status int, body []byte) error {
	text := strings.TrimSpace(string(body))
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		text = e.Error
	}
	class := errRemoteRefused
	if strings.Contains(text, access.ErrApprovalNeeded.Error()) {
		class = errApproval
	}
	return fmt.Errorf("%w: %s (%d)", class, text, status)
}

// released asks for an action that needs a second person, or carries it out where
// a request is named.
func (a *app) released(ctx context.Context, c *client, request string, w wanted) (ready bool, err error) {
	if request != "" {
		return true, nil
	}
	var got struct {
		Request string `json:"request"`
	}
	if err := c.call(ctx, "POST", "/api/v1/requests", "", w, &got); err != nil {
		return false, err
	}
	if a.flags.json {
		err = a.printJSON(got)
	} else {
		_, err = fmt.Fprintln(a.stdout, got.Request)
	}
	if err != nil {
		return false, err
	}
	return false, fmt.Errorf("%w: an approver runs rekey approve %s, then the same again with --request %s", errApproval, got.Request, got.Request)
}

// wanted is what a second person is asked to release.
type wanted struct {
	Action  access.Action  `json:"action"`
	Subject access.Subject `json:"subject"`
	Reason  string         `json:"reason"`
}
