package players_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
)

// Where make.sh draws the squares, in pixels of the 256x144 picture, and how much
// larger the page shows it.
const (
	squares    = 11
	squareLeft = 7
	squareSide = 22
	squareY    = 72
	scale      = 2
)

// readCounter reads the frame number from a screenshot. An error means that there
// is none: no picture, or a broken one.
func readCounter(screenshot []byte) (int, error) {
	img, err := png.Decode(bytes.NewReader(screenshot))
	if err != nil {
		return 0, err
	}
	var bits [squares]bool
	for i := range bits {
		luma := squareLuma(img, i)
		switch {
		case luma > 175:
			bits[i] = true
		case luma > 80:
			return 0, fmt.Errorf("square %d is neither white nor black: %d", i, luma)
		}
	}
	n, parity := 0, false
	for b := range 8 {
		if bits[b+1] {
			n |= 1 << b
			parity = !parity
		}
	}
	if !bits[0] || bits[squares-1] || bits[squares-2] != parity {
		return 0, fmt.Errorf("squares %v have no right frame and parity", bits)
	}
	return n, nil
}

// squareLuma is the mean brightness of the middle of a square.
func squareLuma(img image.Image, i int) int {
	x := scale * (squareLeft + squareSide*i + squareSide/2)
	sum, n := 0, 0
	for dx := -8; dx <= 8; dx += 4 {
		for dy := -16; dy <= 16; dy += 4 {
			g, ok := color.GrayModel.Convert(img.At(x+dx, scale*squareY+dy)).(color.Gray)
			if ok {
				sum += int(g.Y)
				n++
			}
		}
	}
	return sum / max(n, 1)
}
