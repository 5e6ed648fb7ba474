// Package dash reads and edits MPDs (ISO/IEC 23009-1): which init sections and
// media segments each Representation leads to, which content keys it names, and
// how the same MPD reads when some of these move and some keys change.
//
// An MPD is never written anew: [MPD.Edit] replaces attribute values, BaseURLs and
// protection data where they stand, and leaves every other byte alone, comments,
// prefixes and unknown elements included. What it returns has been read again
// and leads where it was meant to lead.
//
// Document type declarations are refused, so no entity but the five of XML 1.0
// §4.6 is ever expanded. Sizes, depth and the number of segments are limited. It
// never opens a reference: xlink and remote elements are refused, as are live
// MPDs, several BaseURLs, and files that have their init section or their index
// elsewhere; see [MPD.Unsupported]. Byte ranges are neither read nor changed: what
// moves keeps its length.
package dash
