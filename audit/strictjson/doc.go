// Package strictjson decodes the JSON that rekey itself wrote, and refuses what
// encoding/json lets pass: unknown, repeated and differently spelled member
// names, and anything after the value (RFC 8259 §4 leaves repeated names
// undefined). Two readers of one record must never see two things.
//
// It never fills in, repairs or ignores anything.
package strictjson
