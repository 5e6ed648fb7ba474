package packager

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// create writes body at path, in mode 0600. It appears whole or not at all, and
// on disk: written and synced under a name of its own in the same directory, then
// linked, which fails with fs.ErrExist if path exists.
func create(path string, body []byte) error {
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, body)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// writeTemp makes a file under a new name in dir; os.CreateTemp makes it 0600.
func writeTemp(dir string, body []byte) (name string, err error) {
	f, err := os.CreateTemp(dir, ".rekey-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// failed says which file was to be written; err may quote its path, never what
// was to be in it.
func failed(what, path string, err error) error {
	return fmt.Errorf("write %s %s: %w", what, path, err)
}
