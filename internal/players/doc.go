// Package players rotates small assets with the program and plays them in
// Chromium, by hls.js, Shaka Player and dash.js: a player that shows the right
// frame at the right time has followed the new manifests, fetched the new keys and
// decrypted the new media. Frames are told apart by a counter that is drawn in
// them, and read from screenshots: a canvas is black under EME.
//
// What it does not prove are the IVs: media plays with a wrong one. The players in
// js are other people's builds, with their licences; see js/README.md.
package players
