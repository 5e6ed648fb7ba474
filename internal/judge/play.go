package judge

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// played is FFmpeg's streamhash of what a URL leads to, of all variants.
func played(t testing.TB, url string) ([]string, error) {
	t.Helper()
	return playedAs(t, url, "0")
}

// playedAs is played of some streams, with further output options.
func playedAs(t testing.TB, url, streams string, options ...string) ([]string, error) {
	t.Helper()
	need(t, "ffmpeg", "ffmpeg")
	args := slices.Concat([]string{"-nostdin", "-v", "error", "-allowed_extensions", "ALL", "-extension_picky", "0", "-i", url, "-map", streams, "-c", "copy"},
		options, []string{"-f", "streamhash", "-hash", "sha256", "-"})
	return try(t, nil, "ffmpeg", args...)
}

// play has FFmpeg play every playlist with known digests over HTTP, and the
// multivariant entries.
func (h *HLS) play(t testing.TB) {
	t.Helper()
	oldKeys := map[string][]byte{}
	for name, list := range h.after {
		for i, p := range list.pieces {
			if k, err := keyBytes(h.Before, h.old[name].pieces[i].key); err == nil && p.key != "" {
				oldKeys[p.key] = k
			}
		}
	}
	before, after, stolen := serve(t, h.Before, nil), serve(t, h.After, nil), serve(t, h.After, oldKeys)
	for name := range h.Streams {
		if h.after[name] == nil {
			t.Errorf("no entry leads to %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.after)) {
		is, known := h.after[name], h.Streams[name] != nil
		if is.samples() && is.iframes {
			h.iframes(t, name)
			h.pictures(t, name, after)
		}
		switch {
		case is.samples() && known:
			h.playSamples(t, name, after, stolen)
		case is.samples() && !is.iframes:
			h.playedElsewhere(t, name)
		case known && slices.ContainsFunc(is.pieces, piece.encrypted):
			h.playMessages(t, name, before, after)
		}
	}
	for _, e := range h.Entries {
		if h.after[e].plays(h.after) {
			h.playEntry(t, e, before, after)
		}
	}
}

// samples tells a playlist under SAMPLE-AES.
func (p *playlist) samples() bool {
	return slices.ContainsFunc(p.pieces, func(x piece) bool { return x.method == "SAMPLE-AES" && x.encrypted() })
}

// plays tells a multivariant playlist whose keys FFmpeg finds: of several key
// systems at one point it takes the last.
func (p *playlist) plays(all map[string]*playlist) bool {
	for _, c := range p.children {
		if all[Logical(c.key)].systems {
			return false
		}
	}
	return len(p.children) > 0
}

func (h *HLS) playMessages(t testing.TB, name string, before, after *site) {
	t.Helper()
	want := h.Streams[name]
	got, err := played(t, after.link(h.after[name].key, ""))
	if err == nil && slices.Equal(got, want) {
		h.Played++
		return
	}
	if old, oldErr := played(t, before.link(h.old[name].key, "")); oldErr == nil && slices.Equal(old, want) {
		t.Errorf("%s plays as %q, want %q: %v", name, got, want, err)
		return
	}
	// FFmpeg is no judge of this: it did not play the old either.
	h.playJoined(t, name)
}

func (h *HLS) playJoined(t testing.TB, name string) {
	t.Helper()
	all, err := h.join(t, h.after[name], false)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got, err := FileStreams(t, "", all); err != nil || !slices.Equal(got, h.Streams[name]) {
		t.Errorf("%s decrypts to %q, want %q: %v", name, got, h.Streams[name], err)
		return
	}
	h.Joined = append(h.Joined, name)
}

// playSamples has FFmpeg's own decryptor play SAMPLE-AES, as many packets as there
// are when the last segment does not come twice.
func (h *HLS) playSamples(t testing.TB, name string, after, stolen *site) {
	t.Helper()
	is, query, want := h.after[name], twice, h.Streams[name]
	counts := map[string]string{"v": strconv.Itoa(len(is.pieces))}
	if is.iframes {
		query = withTable
	} else {
		var err error
		if counts, err = packetCounts(t, after.link(is.key, asTS)); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
	if got, err := playedEach(t, after.link(is.key, query), want, counts); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s plays as %q, want %q: %v", name, got, want, err)
		return
	}
	if got, err := playedEach(t, stolen.link(is.key, query), want, counts); err == nil && slices.Equal(got, want) {
		t.Errorf("%s plays under the old key", name)
	}
	h.Played++
	if clear := h.Packets[name]; clear != nil {
		h.frames(t, name, after.link(is.key, query), clear)
	}
}

// playedElsewhere wants a playlist that nothing is known of to list what one lists
// that is played, under the same key and IV.
func (h *HLS) playedElsewhere(t testing.TB, name string) {
	t.Helper()
	for _, p := range h.after[name].pieces {
		found := false
		for other := range h.Streams {
			found = found || slices.ContainsFunc(h.after[other].pieces, func(x piece) bool {
				return x.object == p.object && x.key == p.key && x.iv == p.iv
			})
		}
		if !found {
			t.Errorf("%s: nothing is known of %s", name, p)
		}
	}
}

// pictures wants the first packets of a SAMPLE-AES I-frame playlist, one of each
// range, to be packets of the clear media, where those are known.
func (h *HLS) pictures(t testing.TB, name string, after *site) {
	t.Helper()
	if len(h.Packets) == 0 {
		return
	}
	known := map[string]bool{}
	for _, list := range h.Packets {
		for _, p := range list {
			_, is, _ := strings.Cut(p, " ")
			known[is] = true
		}
	}
	got, err := packets(t, after.link(h.after[name].key, withTable), "0:v")
	n := len(h.after[name].pieces)
	if err != nil || len(got) < n {
		t.Errorf("%s plays as %d pictures, want %d: %v", name, len(got), n, err)
		return
	}
	for i, p := range got[:n] {
		_, is, _ := strings.Cut(p, " ")
		if !known[is] {
			t.Errorf("%s: picture %d is not one of the clear media", name, i)
			continue
		}
		h.Frames++
	}
}

// playedEach is played of the first packets of each stream, one by one: FFmpeg
// ends all streams with the first that has enough.
func playedEach(t testing.TB, url string, streams []string, counts map[string]string) (lines []string, err error) {
	t.Helper()
	for _, s := range streams {
		n, rest, _ := strings.Cut(s, ",")
		kind, _, _ := strings.Cut(rest, ",")
		if counts[kind] == "" {
			return nil, fmt.Errorf("no packets of stream %s,%s", n, kind)
		}
		got, err := playedAs(t, url, "0:"+n, "-frames:"+kind, counts[kind])
		if err != nil {
			return nil, err
		}
		if len(got) == 1 {
			_, line, _ := strings.Cut(got[0], ",")
			lines = append(lines, n+","+line)
		}
	}
	return lines, nil
}

// packetCounts are the numbers of packets by v and a; of one stream each.
func packetCounts(t testing.TB, url string) (map[string]string, error) {
	t.Helper()
	need(t, "ffprobe", "ffmpeg")
	lines, err := try(t, nil, "ffprobe", "-v", "error", "-allowed_extensions", "ALL", "-extension_picky", "0", "-count_packets",
		"-show_entries", "stream=codec_type,nb_read_packets", "-of", "csv=p=0", url)
	if err != nil {
		return nil, err
	}
	counts := map[string]string{}
	for _, l := range lines {
		kind, n, _ := strings.Cut(l, ",")
		if kind == "video" || kind == "audio" {
			counts[kind[:1]] = n
		}
	}
	return counts, nil
}

// frames compares the packets, stream by stream, with those of the clear media.
// There are more than those, for the last segment came twice.
func (h *HLS) frames(t testing.TB, name, url string, clear []string) {
	t.Helper()
	got, err := packets(t, url, "0")
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	want, have := byStream(clear), byStream(got)
	if len(want) != len(have) {
		t.Errorf("%s has %d streams, want %d", name, len(have), len(want))
	}
	for stream, list := range want {
		if n := len(list); len(have[stream]) < n || !slices.Equal(have[stream][:n], list) {
			t.Errorf("%s: packets of stream %s are not the clear ones", name, stream)
			continue
		}
		h.Frames += len(list)
	}
}

// packets are the packets of some streams that FFmpeg reads from a URL, each as
// "stream size MD5".
func packets(t testing.TB, url, streams string) ([]string, error) {
	t.Helper()
	need(t, "ffmpeg", "ffmpeg")
	out, err := output(t, nil, "ffmpeg", "-nostdin", "-v", "error", "-allowed_extensions", "ALL", "-extension_picky", "0", "-i", url,
		"-map", streams, "-c", "copy", "-f", "framemd5", "-")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		// stream, dts, pts, duration, size, hash
		f := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), " ", ""), ",")
		if len(f) >= 6 && !strings.HasPrefix(line, "#") {
			list = append(list, f[0]+" "+f[4]+" "+f[5])
		}
	}
	return list, nil
}

// byStream sorts packets by their stream.
func byStream(list []string) map[string][]string {
	m := map[string][]string{}
	for _, l := range list {
		stream, _, _ := strings.Cut(l, " ")
		m[stream] = append(m[stream], l)
	}
	return m
}

// playEntry plays a multivariant playlist, all its renditions, as it was played
// before. The last two packets of each stream, which FFmpeg leaves as they are
// under SAMPLE-AES, are not compared.
func (h *HLS) playEntry(t testing.TB, name string, before, after *site) {
	t.Helper()
	was, err := packets(t, before.link(name, ""), "0")
	if err != nil || len(was) == 0 {
		return // it plays neither
	}
	is, err := packets(t, after.link(name, ""), "0")
	if err != nil {
		t.Errorf("%s does not play any more: %v", name, err)
		return
	}
	old, now := byStream(was), byStream(is)
	if len(old) != len(now) {
		t.Errorf("%s plays with %d streams, had %d", name, len(now), len(old))
		return
	}
	for stream, list := range old {
		n := max(len(list)-2, 0)
		if len(now[stream]) != len(list) || !slices.Equal(now[stream][:n], list[:n]) {
			t.Errorf("%s: stream %s plays as something else", name, stream)
			return
		}
	}
	h.Entered++
}

// iframes wants every sub-range of a SAMPLE-AES I-frame playlist to begin and to
// end where the old one did: at the start of a picture, and before the same packet.
func (h *HLS) iframes(t testing.TB, name string) {
	t.Helper()
	for i, p := range h.after[name].pieces {
		old := h.old[name].pieces[i]
		was, err := os.ReadFile(filepath.Join(h.Before, filepath.FromSlash(old.object)))
		if err != nil {
			t.Error(err)
			continue
		}
		is, err := os.ReadFile(filepath.Join(h.After, filepath.FromSlash(p.object)))
		if err != nil {
			t.Error(err)
			continue
		}
		first, last := packetAt(is, p.offset), packetAt(is, p.offset+p.length)
		switch {
		case !p.ranged || p.offset%packetSize != 0 || p.length%packetSize != 0 || p.offset+p.length > int64(len(is)):
			t.Errorf("%s: %s are no whole packets of it", name, p)
		case !startsVideo(is, p.offset):
			t.Errorf("%s: %s begins with %s, not with a picture", name, p, first)
		case first != packetAt(was, old.offset):
			t.Errorf("%s: %s begins with %s, was %s", name, p, first, packetAt(was, old.offset))
		case last != packetAt(was, old.offset+old.length):
			t.Errorf("%s: %s ends before %s, was %s", name, p, last, packetAt(was, old.offset+old.length))
		default:
			h.IFrames++
		}
	}
}
