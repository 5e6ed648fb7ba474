package keyring

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/store"
)

// storeIDName tells one control store from every other, wherever it lies, and
// under whatever name it is reached.
const storeIDName = "control-id.json"

const maxStoreID = 1 << 10 // bytes

type storeID struct {
	ID string `json:"id"`
}

// StoreID is the id of a control store: 32 hex digits, made at random by the first
// who asks. A copy of the store has the same one.
func StoreID(ctx context.Context, s store.Store) (string, error) {
	id, err := readStoreID(ctx, s)
	if !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
	body, err := json.Marshal(storeID{hex.EncodeToString(b[:])})
	if err == nil {
		_, err = store.PutOnce(ctx, s, storeIDName, append(body, '\n'), recordAttributes())
	}
	if err != nil && !errors.Is(err, store.ErrPrecondition) {
		return "", fmt.Errorf("write %s: %w", storeIDName, err)
	}
	return readStoreID(ctx, s) // another may have come first, whose id counts
}

func readStoreID(ctx context.Context, s store.Store) (string, error) {
	body, _, err := store.ReadAll(ctx, s, storeIDName, "", maxStoreID, nil)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", storeIDName, err)
	}
	return decodeStoreID(body)
}

// decodeStoreID reads control-id.json. Its errors are *Error of class ErrCorrupt.
func decodeStoreID(b []byte) (string, error) {
	var i storeID
	if err := strictjson.Decode(b, &i); err != nil {
		return "", corrupt(storeIDName, -1, err.Error())
	}
	if raw, err := hex.DecodeString(i.ID); err != nil || len(raw) != 16 {
		return "", corrupt(storeIDName, -1, "is no id of 32 hex digits")
	}
	return i.ID, nil
}
