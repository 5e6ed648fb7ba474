package aesbulk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// Chain is the blocks of one CBC chain, and where it begins.
type Chain struct {
	IV   [aes.BlockSize]byte
	Data []byte // whole blocks
}

// lanes is how many chains are encrypted at a time. A block of a chain waits for
// the one before it; blocks of several chains overlap in the CPU.
const lanes = 4

// CBCEncryptChains encrypts many chains under one key where they lie, and
// changes the list. Chains must not share memory.
func CBCEncryptChains(b cipher.Block, chains []Chain) {
	var lane [lanes]Chain
	busy := 0
	for {
		for busy < lanes && len(chains) > 0 {
			if len(chains[0].Data) > 0 {
				mustBlocks(chains[0].Data, chains[0].Data)
				lane[busy] = chains[0]
				busy++
			}
			chains = chains[1:]
		}
		if busy == 0 {
			return
		}
		n := len(lane[0].Data)
		for _, l := range lane[1:busy] {
			n = min(n, len(l.Data))
		}
		encryptLanes(b, lane[:busy], n)
		left := 0
		for _, l := range lane[:busy] {
			if len(l.Data) > 0 {
				lane[left] = l
				left++
			}
		}
		busy = left
	}
}

// encryptLanes takes n bytes of each lane.
func encryptLanes(b cipher.Block, lane []Chain, n int) {
	var prev [lanes][]byte
	for i := range lane {
		prev[i] = lane[i].IV[:]
	}
	for at := 0; at < n; at += aes.BlockSize {
		for i := range lane {
			block := lane[i].Data[at : at+aes.BlockSize]
			subtle.XORBytes(block, block, prev[i])
			b.Encrypt(block, block)
			prev[i] = block
		}
	}
	for i := range lane {
		copy(lane[i].IV[:], prev[i])
		lane[i].Data = lane[i].Data[n:]
	}
}
