package packager

// WriteBento4 writes lines "--key KID:KEY" at path, the arguments by which
// mp4decrypt knows the keys of every track by KID: xargs -a path mp4decrypt … .
// Bento4 reads no key file; whoever runs the tool shows the keys to everyone who
// can list this machine's processes. mp4encrypt and mp4dash want the same two
// in other arguments.
func WriteBento4(path string, keys []Key) error {
	if err := check(keys); err != nil {
		return failed("Bento4 keys", path, err)
	}
	body := make([]byte, 0, len(keys)*80) // 73 bytes a line: nothing moves
	defer func() { clear(body) }()
	for _, k := range keys {
		body = append(body, "--key "+k.KID.String()+":"...)
		body = append(appendKey(body, k.Key), '\n')
	}
	if err := create(path, body); err != nil {
		return failed("Bento4 keys", path, err)
	}
	return nil
}
