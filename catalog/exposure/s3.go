package exposure

import (
	"errors"
	"strings"
)

// parseS3 reads an S3 server access log ("Amazon S3 server access log format"):
//
//	owner bucket [time] address requester request operation key "request line" status …
//
// Fields may be added at the end, and are passed over.
func parseS3(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" {
		return Fetch{}, nothing, nil
	}
	_, rest, _ := strings.Cut(line, " ")
	bucket, rest, _ := strings.Cut(rest, " ")
	if len(rest) < clfTime+3 || rest[0] != '[' || rest[clfTime+1] != ']' || rest[clfTime+2] != ' ' {
		return Fetch{}, other, errors.New("there is no [time] after the bucket")
	}
	when, err := parseCLFTime(rest[1 : 1+clfTime])
	if err != nil {
		return Fetch{}, other, err
	}
	var field [5]string // address, requester, request id, operation, key
	rest = rest[clfTime+3:]
	for i := range field {
		var ok bool
		if field[i], rest, ok = strings.Cut(rest, " "); !ok {
			return Fetch{}, other, errors.New("fields are missing before the request")
		}
	}
	request, rest, err := s3Quoted(rest)
	if err != nil {
		return Fetch{}, other, errors.New("the request's quotes do not end")
	}
	f := Fetch{Time: when, Client: unlessDash(field[1]), Address: unlessDash(field[0])}
	if f.Client == "" {
		f.Client = f.Address
	}
	word, rest, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	if !gives(field[3]) || field[4] == "-" || f.Client == "" {
		return f, other, nil // expiry, logging and the like have no status
	}
	if f.Status, err = status(word); err != nil {
		return Fetch{}, other, err
	}
	f.Agent = s3Agent(rest)
	f.URI = "s3://" + bucket + "/" + strings.TrimPrefix(s3Key(field[4], request), "/")
	return f, fetch, nil
}

// gives reports an operation that reads an object. A copy is logged as two.
func gives(operation string) bool {
	switch operation {
	case "REST.GET.OBJECT", "WEBSITE.GET.OBJECT", "REST.COPY.OBJECT_GET", "SOAP.GETOBJECT", "SOAP.GetObject":
		return true
	}
	return false
}

// s3Key spells an object's key as in a URL. The log has it encoded once by the
// documentation, and twice in practice (%2520 for a blank); the request line, in
// which the client's own encoding stands, decides.
func s3Key(field, request string) string {
	once := unpercent(field)
	if once == field {
		return field
	}
	_, uri := splitRequest(request)
	path, _, _ := strings.Cut(uri, "?")
	asked := canonical(path)
	if !strings.HasSuffix(asked, canonical(field)) && strings.HasSuffix(asked, canonical(once)) {
		return once
	}
	return field
}

// s3Quoted is quoted, or the dash of a request that had no request line.
func s3Quoted(s string) (field, rest string, err error) {
	if after, ok := strings.CutPrefix(s, "- "); ok {
		return "", " " + after, nil
	}
	return quoted(s)
}

// s3Agent finds the User-Agent after the status: error code, bytes, size, two
// times, referer, agent.
func s3Agent(rest string) string {
	for range 5 {
		_, rest, _ = strings.Cut(rest, " ")
	}
	_, rest, err := s3Quoted(rest)
	if err != nil {
		return ""
	}
	agent, _, err := quoted(strings.TrimPrefix(rest, " "))
	if err != nil {
		return ""
	}
	return unlessDash(agent)
}

// unlessDash makes a field that says nothing empty.
func unlessDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}
