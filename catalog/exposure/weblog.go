package exposure

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

// clfTime is how long the time of a common log line is: 10/Oct/2000:13:55:36 -0700.
const clfTime = len("10/Oct/2000:13:55:36 -0700")

// parseCombined reads
//
//	[vhost:port] host ident user [time] "request" status bytes ["referer" "agent" …]
//
// which is common, combined and vhost_combined of Apache's mod_log_config and
// combined of nginx's log module.
func parseCombined(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return Fetch{}, nothing, nil
	}
	at := timeOfLine(line)
	if at < 0 {
		return Fetch{}, other, errors.New("there is no [time] before a quoted request")
	}
	when, err := parseCLFTime(line[at+1 : at+1+clfTime])
	if err != nil {
		return Fetch{}, other, err
	}
	f := Fetch{Time: when}
	vhost := ""
	if f.Client, vhost = whoAsked(line[:at]); f.Client == "" {
		return Fetch{}, other, errors.New("what stands before the time is not host, ident and user")
	}
	f.Address = f.Client
	request, rest, err := quoted(line[at+clfTime+3:])
	if err != nil {
		return Fetch{}, other, errors.New("the request's quotes do not end")
	}
	word, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if f.Status, err = status(word); err != nil {
		return Fetch{}, other, err
	}
	_, rest, _ = strings.Cut(rest, " ") // the size
	if _, rest, err = quoted(rest); err == nil {
		agent, _, _ := quoted(strings.TrimPrefix(rest, " "))
		f.Agent = unlessDash(agent)
	}
	method := ""
	if method, f.URI = splitRequest(request); f.URI == "" {
		return f, other, nil // what came was no HTTP: logged, and answered 400
	}
	if vhost != "" && f.URI[0] == '/' {
		f.URI = "http://" + vhost + f.URI
	}
	if !handsOut(method) {
		return f, other, nil
	}
	return f, fetch, nil
}

// timeOfLine finds the bracket that opens the time. A user name may hold brackets,
// and Apache writes an empty one as two quotes, but no client can put a bracket, a
// blank and a quote that is not escaped before the request.
func timeOfLine(line string) int {
	for at := strings.IndexByte(line, '['); at >= 0; {
		end := at + 1 + clfTime
		if len(line) > end+2 && line[end:end+3] == `] "` {
			return at
		}
		next := strings.IndexByte(line[at+1:], '[')
		if next < 0 {
			return -1
		}
		at += 1 + next
	}
	return -1
}

// whoAsked reads what stands before the time: the client, and the virtual host if
// it is before that. Both are empty where something else stands there, such as
// what syslog puts before a line: to guess would be to accuse the wrong client.
func whoAsked(s string) (client, vhost string) {
	first, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	second, rest, more := strings.Cut(rest, " ")
	_, rest, more2 := strings.Cut(rest, " ")
	switch {
	case first == "-":
		return "", ""
	case !more || !more2 || second == "-": // a user name may hold blanks
		return first, ""
	case isAddress(first):
		return first, ""
	case isAddress(second) && rest != "":
		return second, first
	}
	return "", ""
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// splitRequest reads METHOD URI PROTOCOL; a URI may hold blanks, as some clients
// send them.
func splitRequest(request string) (method, uri string) {
	method, uri, ok := strings.Cut(request, " ")
	if !ok {
		return method, ""
	}
	if i := strings.LastIndexByte(uri, ' '); i >= 0 && strings.HasPrefix(uri[i+1:], "HTTP/") {
		uri = uri[:i]
	}
	return method, strings.TrimSpace(uri)
}

// status reads a status of three digits; 000 is of a client that went away.
func status(s string) (int, error) {
	if len(s) != 3 {
		return 0, errors.New("the status has not three digits")
	}
	n, ok := digits(s)
	if !ok {
		return 0, errors.New("the status has not three digits")
	}
	return n, nil
}

// digits reads a number of a few decimal digits.
func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0
}

// errTime is what parseCLFTime says of all that is no time.
var errTime = errors.New("the time is not of the form 02/Jan/2006:15:04:05 -0700")

// parseCLFTime reads a time of clfTime bytes, as UTC. time.Parse takes four times
// as long, and this is most of what a line costs.
func parseCLFTime(s string) (time.Time, error) {
	if len(s) != clfTime || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return time.Time{}, errTime
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[3:6])
	var n [6]int
	for i, part := range [...]string{s[:2], s[7:11], s[12:14], s[15:17], s[18:20], s[22:26]} {
		var ok bool
		if n[i], ok = digits(part); !ok {
			return time.Time{}, errTime
		}
	}
	day, year, hour, minute, second, zone := n[0], n[1], n[2], n[3], n[4], n[5]
	if month < 0 || month%3 != 0 || hour > 23 || minute > 59 || second > 60 || zone/100 > 23 || zone%100 > 59 {
		return time.Time{}, errTime
	}
	midnight := time.Date(year, time.Month(month/3+1), day, 0, 0, 0, 0, time.UTC)
	if year == 0 || midnight.Day() != day {
		return time.Time{}, errTime
	}
	seconds := hour*3600 + minute*60 + second
	switch east := zone/100*3600 + zone%100*60; s[21] {
	case '+':
		seconds -= east
	case '-':
		seconds += east
	default:
		return time.Time{}, errTime
	}
	return midnight.Add(time.Duration(seconds) * time.Second), nil
}
