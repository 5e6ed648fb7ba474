// Package journal is the record of a rotation in the control prefix: its state,
// the plan of each asset, one record for each finished part and one outcome for
// each asset. A rotation can be picked up from these records alone; the queue
// holds nothing that is not here.
//
// Records are create-only where they say what was done, and replaced under
// If-Match where they say how things stand. The journal never holds key bytes:
// the one secret in it, the rotation's MAC key, is wrapped.
//
//	rotations/<id>/state.json           how the rotation stands
//	rotations/<id>/lease.json           who drives it
//	rotations/<id>/plan/<asset>.json    decided before anything is touched
//	rotations/<id>/parts/<asset>/<n>.json
//	rotations/<id>/failures/<asset>/<n>.json
//	rotations/<id>/assets/<asset>.json  what became of each asset
package journal
