package key

// Change says what becomes of one content key.
type Change struct {
	Old    ContentKey
	New    ContentKey
	NewKID KID
	// PSSH is the DRM data that a key service gave for NewKID: whole pssh boxes
	// (ISO/IEC 23001-7 §8.1), one for each system at most. Of those systems it
	// takes the place of the data that names the old KID; of all others the KIDs
	// are replaced in the data that is there. nil: there is none.
	PSSH [][]byte
}

// Changes maps each KID that changes to what becomes of it. A KID that is not
// in it stays as it is.
type Changes map[KID]Change
