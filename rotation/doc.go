// Package rotation is a rotation's life: it finds what depends on a key, plans
// every asset before anything is touched, hands the parts to the queue, and,
// once an asset's new tree stands complete, flips its entry manifests, reads
// everything back through them and says what became of it.
//
// It moves no media bytes itself, except to prove an old key and to verify a
// published asset; the workers do the rest. It deletes nothing but what it wrote
// itself, of assets that were given up.
//
// The order of a publish: key objects, then playlists of the new tree, then
// entry manifests one by one, each under If-Match on what the plan saw. At
// every instant an entry manifest leads to the old asset whole or to the new
// asset whole.
package rotation
