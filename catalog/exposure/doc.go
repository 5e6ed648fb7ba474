// Package exposure reads the logs of servers that hand out content keys, and says
// who fetched which key: the clients, how often, the first and the last time.
// When a key has leaked, that is the list of suspects; over many keys it is the
// order in which to rotate them.
//
// [Read] turns one log into fetches, [Summary] adds fetches up by key. Both are
// functions of what they read: no network, no clock, no files, no log of their
// own. Neither holds key bytes, and neither prints the query of a URL, which may
// be a token that still opens something.
//
// # Formats
//
// A log's format is told by its first lines unless [Options.Format] names it, and
// gzip (RFC 1952, several members too) is opened where it is found.
//
//	combined         Apache and nginx "common" and "combined", vhost_combined too:
//	                 httpd.apache.org/docs/2.4/mod/mod_log_config.html,
//	                 nginx.org/en/docs/http/ngx_http_log_module.html
//	cloudfront       CloudFront standard logs, W3C extended; #Fields says which
//	                 column is which: "Standard logging reference" of the
//	                 CloudFront developer guide
//	cloudfront-json  the fields of CloudFront's real-time or standard logs as JSON
//	                 objects, one a line: "Use real-time access logs", the same guide
//	cloudtrail       CloudTrail: S3 data events GetObject and CopyObject, and KMS
//	                 Decrypt whose encryption context names a KID; a file with
//	                 Records, or one event a line
//	s3               S3 server access logs: "Amazon S3 server access log format"
//	json             one JSON object a line, for every server that has none of these
//	audit            what rekey audit export writes as JSON
//
// A line of format json has
//
//	{"time": "2026-03-01T12:00:00Z", "client": "203.0.113.7", "uri": "/keys/1.key", "status": 200}
//
// time is RFC 3339, status the HTTP status; client is an address or an id; kid
// (32 hex digits) stands in place of uri or beside it, and goes before it. method
// and agent may be there, other members are passed over.
//
// # What counts
//
// A fetch is a request that was answered with status 2xx, by GET or POST or a
// method the log does not name. HEAD and OPTIONS, which browsers send before the
// request proper, hand out nothing. 304 says that the client had the key already,
// and is counted apart. CloudTrail has no status: an event without an error code
// is a success. In an audit export the ring's own records count, "use export" and
// "use deliver"; the request that came before them is the same fetch.
//
// A client is who the log says it is. Behind a proxy or a CDN a server logs the
// proxy, unless it is told better (nginx: the realip module); X-Forwarded-For is
// not read, since a client can write into it what it likes.
//
// # Bounds
//
// A line (CloudTrail: a record) holds at most 1 MiB, a file Options.MaxBytes once
// it is unpacked. A line that is no line of its format is counted, and the first
// few are kept with number and reason: a file is not worth less for its last,
// half-written line, but a file of which nothing can be read is an error.
//
// Memory does not grow with a file, but with the pairs of key and client, and
// those are bounded by [SummaryOptions]. Beyond the bound all fetches are still
// counted exactly, for the key; further clients are not listed, and the number of
// the key's clients becomes an estimate over a sketch of 4 KiB (HyperLogLog:
// Flajolet et al. 2007), good to about 2 %, and marked as one.
package exposure
