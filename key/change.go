package key

// Change says what becomes of one content key.
type Change struct {
	Old    ContentKey
	New    ContentKey
	NewKID KID
}

// Changes maps each KID that changes to what becomes of it. A KID that is not
// in it stays as it is.
type Changes map[KID]Change
