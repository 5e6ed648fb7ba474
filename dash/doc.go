// Package dash reads and edits MPDs (ISO/IEC 23009-1): which init sections and
// media each Representation leads to, which content keys it names, and how the
// same MPD reads when some of these move and some keys change.
//
// An MPD is never written anew: the text is scanned here, instead of by a tree
// that is written out again (as beevik/etree does), so that untouched parts stay
// byte-identical: [MPD.Edit] replaces attribute values, BaseURLs and protection
// data where they stand, and leaves every other byte alone, comments, prefixes and
// unknown elements included. What does not stay: an attribute that changes is
// escaped anew, and text of a BaseURL that is broken up by comments or CDATA moves
// into its first piece, as new DRM data does. Where that data is several pssh boxes
// in the place of one, further cenc:pssh elements follow the first, that of the
// element's default_KID. What it returns has been read again and leads where it was
// meant to lead.
//
// Document type declarations are refused, so no entity but the five of XML 1.0
// §4.6 is ever expanded, and so is every encoding but UTF-8. Sizes, depth and the
// number of segments are limited. It never opens a reference: xlink and imported
// MPDs are refused, as are live MPDs, segment sequences ($SubNumber$), bitstream
// switching segments, and byte ranges of BaseURLs; see [MPD.Unsupported]. Byte
// ranges are neither read nor changed, and index segments stay where they are: what
// moves keeps its length, but for an init section that is an object of its own
// (Representation.Init), into which no range of its Initialization reaches: one with
// @range is refused. Location, PatchLocation, ContentSteering, licence URLs and
// events stay too; whoever serves these must serve the edited MPD.
package dash
