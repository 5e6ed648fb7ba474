package sampleaes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/hls/audio"
)

// nth returns the offset of the n-th packet of a PID that has payload.
func nth(t *testing.T, b []byte, pid uint16, n int) int {
	t.Helper()
	for at := 0; at < len(b); at += packetSize {
		p := packet(b[at : at+packetSize])
		if l, _ := p.parse(); p.pid() == pid && l.payload < packetSize {
			if n--; n < 0 {
				return at
			}
		}
	}
	t.Fatal("no such packet")
	return 0
}

func edit(b []byte, f func(b []byte)) []byte {
	b = bytes.Clone(b)
	f(b)
	return b
}

// repack spreads packets to another size.
func repack(b []byte, before, after int) (out []byte) {
	for at := 0; at < len(b); at += packetSize {
		out = append(out, make([]byte, before)...)
		out = append(out, b[at:at+packetSize]...)
		out = append(out, make([]byte, after)...)
	}
	return out
}

func muxed(entries []entry, f func(m *mux)) []byte {
	m := newMux(entries...)
	f(m)
	return m.out
}

func TestWhatIsRefused(t *testing.T) {
	files := media(t)
	v, a, packed := files["video-1.ts"], files["aac-1.ts"], files["packed-1.aac"]
	first, second := nth(t, v, videoPID, 0), nth(t, v, videoPID, 1)
	h264 := []entry{{typeH264, videoPID, indH}}
	nal := append([]byte{0, 0, 1, 0x65}, bytes.Repeat([]byte{9}, 207)...)
	pes := func(kind uint8, id byte, payload []byte) []byte {
		return muxed([]entry{{kind, videoPID, ""}}, func(m *mux) { m.pes(videoPID, id, true, 0, payload) })
	}
	tag, _ := audio.ID3(packed)
	frame, _, _ := audio.Frame(audio.AAC, packed[tag:])
	malformed, unsupported := hls.ErrMalformed, hls.ErrUnsupported
	tests := []struct {
		name  string
		src   []byte
		class error
		want  string
	}{
		{"empty", nil, malformed, "empty"},
		{"text", []byte("#EXTM3U\n#EXT-X-VERSION:3\n"), unsupported, "neither MPEG-2 TS nor packed audio"},
		{"192", repack(v, 4, 0), unsupported, "192 bytes"},
		{"204", repack(v, 0, 16), unsupported, "204 bytes"},
		{"lost sync", edit(v, func(b []byte) { b[5*188] = 0 }), malformed, "offset 1940: malformed: TS sync byte lost"},
		{"cut", v[:len(v)-1], malformed, "cut short"},
		{"no PAT", v[188:], unsupported, "no PAT"},
		{"no PMT", append(bytes.Clone(v[:188]), v[376:]...), unsupported, "no PMT"},
		{"PAT CRC", edit(v, func(b []byte) { b[187] ^= 1 }), malformed, "offset 1000: malformed: CRC"},
		{"PMT CRC", edit(v, func(b []byte) { b[375] ^= 1 }), malformed, "CRC"},
		{"two programs", muxed(h264, func(m *mux) { m.section(0, patSection(2)) }), unsupported, "several programs"},
		{"PMT changes", muxed(h264, func(m *mux) { m.tables(entry{0x1b, videoPID, ""}) }), unsupported, "PMT changes"},
		{"a PID twice", muxed([]entry{h264[0], h264[0]}, func(*mux) {}), malformed, "lists PID 80 twice"},
		{"scrambled PMT", edit(v, func(b []byte) { b[188+3] |= 0x80 }), unsupported, "scrambled PAT or PMT"},
		{"HEVC", muxed([]entry{{0x24, 80, "\x0f\x04zhvc"}}, func(*mux) {}), unsupported, "HEVC under SAMPLE-AES"},
		{"other indicator", muxed([]entry{{typeH264, 80, "\x0f\x04zhvc"}}, func(*mux) {}), unsupported, `"zhvc", not "zavc"`},
		{"protected by descriptor", muxed([]entry{{0x0f, 80, indA}}, func(*mux) {}), unsupported, `0xf signalled as protected by "aacd"`},
		{"set up", muxed([]entry{{0x0f, 80, "\x05\x04apad"}}, func(*mux) {}), unsupported, `by "apad"`},
		{"scrambled", edit(v, func(b []byte) { b[second+3] |= 0x40 }), unsupported, "PID 80: scrambled"},
		{"transport error", edit(v, func(b []byte) { b[second+1] |= 0x80 }), malformed, "transport_error_indicator"},
		{"adaptation_field_control", edit(v, func(b []byte) { b[second+3] &^= 0x30 }), malformed, "reserved"},
		{"adaptation field too long", edit(v, func(b []byte) { b[first+4] = 183 }), malformed, "no room"},
		{"flags too long", edit(v, func(b []byte) { b[first+5] |= 0x08 }), malformed, "shorter than what its flags"},
		{"private data too long", edit(v, func(b []byte) { b[first+5], b[first+6] = 2, 200 }), malformed, "shorter than what its flags"},
		{"lost packet", append(bytes.Clone(v[:second]), v[second+188:]...), malformed, "packets are lost"},
		{"duplicate packet", slices.Insert(bytes.Clone(v), second, v[first:second]...), unsupported, "duplicate packet"},
		{"inside a PES packet", append(bytes.Clone(v[:first]), v[second:]...), unsupported, "begins inside a PES packet"},
		{"no start code", edit(v, func(b []byte) { b[first+12] = 9 }), malformed, "packet_start_code_prefix"},
		{"private_stream_2", edit(v, func(b []byte) { b[first+15] = 0xbf }), unsupported, "stream_id 0xbf"},
		{"marker bits", edit(v, func(b []byte) { b[first+18] = 0 }), malformed, "marker bits"},
		{"PES scrambling", edit(v, func(b []byte) { b[first+18] |= 0x10 }), unsupported, "PES_scrambling_control"},
		{"PES CRC", edit(v, func(b []byte) { b[first+19] |= 2 }), unsupported, "previous_PES_packet_CRC"},
		{"PES length", edit(v, func(b []byte) { b[first+17]++ }), malformed, "PES_packet_length is"},
		{"PES cut", v[:len(v)-188], malformed, "PES_packet_length is"},
		{"PES header cut", muxed(h264, func(m *mux) { m.write(videoPID, []byte{0, 0, 1, 0xe0, 0, 0, 0x80, 0, 9}, -1) }), malformed, "PES header cut short"},
		{"inside a NAL unit", pes(typeH264, 0xe0, append([]byte("abc"), nal...)), unsupported, "inside a NAL unit"},
		{"no NAL unit", pes(typeH264, 0xe0, bytes.Repeat([]byte{9}, 300)), unsupported, "inside a NAL unit"},
		{"zeros", pes(typeH264, 0xe0, slices.Concat(nal[:4+47], []byte{9, 0, 0, 0, 0}, nal)), nil, ""},
		{"zeros that may be the NAL unit's", pes(typeH264, 0xe0, slices.Concat(nal, []byte{0})), unsupported, "zeros after a NAL unit"},
		{"inside a frame", pes(typeAAC, 0xc0, a[1000:1100]), malformed, "no ADTS frame"},
		{"frame goes on", muxed([]entry{{typeAAC, videoPID, indA}}, func(m *mux) {
			m.pes(videoPID, 0xc0, true, 0, []byte{0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc, 1, 2, 3})
		}), unsupported, "goes on after the segment"},
		{"packed: cut", packed[:len(packed)-1], unsupported, "goes on after the segment"},
		{"packed: cut header", packed[:len(packed)-100][:200], unsupported, ""},
		{"packed: no frame", edit(packed, func(b []byte) { b[tag] = 1 }), unsupported, "neither"},
		{"packed: no second frame", edit(packed, func(b []byte) { b[tag+frame] = 1 }), malformed, "no ADTS frame"},
		{"ID3 alone", []byte("ID3\x04\x00\x00\x00\x00\x00\x00"), malformed, "no audio"},
		{"ID3 cut", []byte("ID3\x04\x00\x00\x00\x00\x09\x00"), malformed, "longer than what is left"},
		{"MP3", append([]byte("\xff\xfb\x90\x00"), make([]byte, 413)...), unsupported, "SAMPLE-AES over MP3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.src, tt.class, tt.want) })
	}
}

func refused(t *testing.T, src []byte, class error, want string) {
	t.Helper()
	change, iv := testKeys()
	_, err := NewRekeyer(change).Segment("dir/x.ts", 1000, iv, src)
	if class == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *hls.Error
	if !errors.Is(err, class) || !errors.As(err, &e) || e.Object != "dir/x.ts" || !strings.Contains(err.Error(), want) ||
		e.Offset < 1000 || e.Offset > 1000+int64(len(src)) {
		t.Errorf("error %v, want class %v and %q", err, class, want)
	}
}

// TestMuxed: video, audio, timed metadata, private data, null packets and a PMT
// over two packets in one segment; only what is protected changes.
func TestMuxed(t *testing.T) {
	change, iv := testKeys()
	files := media(t)
	src, audioFile := files["video-1.ts"], files["aac-1.ts"]
	k, unit := growingKey(t, "video-1.ts", src)
	full := stuffHeader(t, src, unit)
	const clearPID = 0x52
	m := newMux(entry{typeH264, videoPID, indH}, entry{typeAAC, audioPID, indA},
		entry{0x15, 0x53, "\x26\x7f" + strings.Repeat("m", 127)}, entry{0x06, clearPID, "\x26\x3f" + strings.Repeat("c", 63)})
	if p := packet(m.out[2*packetSize:]); len(p) != packetSize || p.pid() != pmtPID || p.starts() {
		t.Fatal("the PMT fits one packet")
	}
	other := bytes.Repeat([]byte{0, 0, 1, 0x65, 77, 78, 79}, 60)
	rest := audioFile
	for at := 376; at < len(full); at += packetSize {
		m.out = append(m.out, full[at:at+packetSize]...)
		m.out = append(m.out, edit(make([]byte, packetSize), func(b []byte) { copy(b, "\x47\x1f\xff\x10null") })...)
		m.pes(clearPID, 0xbd, true, 0, other)
		m.pes(0x53, 0xbd, true, 0, []byte("ID3 timed"))
		for i := 0; i < 3 && len(rest) > 0; i++ {
			p := edit(rest[:packetSize], func(b []byte) {
				if packet(b).pid() == videoPID {
					b[2] = audioPID
				}
			})
			if packet(p).pid() == audioPID {
				m.out = append(m.out, p...)
			}
			rest = rest[packetSize:]
		}
	}
	res := rekeyed(t, "muxed", change.Old, k, 12345, m.out)
	sums := digests(t)
	es := elementary(res.Clear)
	if n := len(es); len(res.Grown) != 1 || hexSum(es[n-len(audioES(t, audioFile)):]) != sums["aac-1.ts"] || hexSum(es[:n-len(audioES(t, audioFile))]) != sums["video-1.ts"] {
		t.Error("not the clear streams")
	}
	if _, _, err := checkTS(res.Out, audioPID); err != nil {
		t.Error(err)
	}
	// FFmpeg probes to the end of so short a segment and decrypts none of it; it
	// must find the same packets.
	old, now := ffmpegFrames(t, change.Old, iv, "ts", m.out), ffmpegFrames(t, k, iv, "ts", res.Out)
	for _, s := range []string{"0", "1"} {
		if n := len(old[s]); n < 15 || len(now[s]) != n {
			t.Errorf("FFmpeg reads %d packets of stream %s, and %d of the new segment", n, s, len(now[s]))
		}
	}
}

func audioES(t *testing.T, b []byte) (es []byte) {
	t.Helper()
	_, pes, err := checkTS(b, videoPID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pes {
		es = append(es, p[9+int(p[8]):]...)
	}
	return es
}

// TestNothingProtected: a segment of clear streams stays as it is, and says so.
func TestNothingProtected(t *testing.T) {
	change, iv := testKeys()
	src := muxed([]entry{{0x1b, videoPID, ""}, {0x86, 0x60, ""}}, func(m *mux) {
		m.pes(videoPID, 0xe0, true, 0, bytes.Repeat([]byte{0, 0, 1, 0x65, 1, 2, 3}, 99))
	})
	res, err := NewRekeyer(change).Segment("s", 0, iv, src)
	if err != nil || !bytes.Equal(res.Out, src) || len(res.Findings) != 1 || res.Frames != 0 || res.Evidence.Bytes != 0 {
		t.Errorf("%+v, %v", res.Findings, err)
	}
}

// TestAudioAcrossPESPackets: frames cut by PES packets anywhere.
func TestAudioAcrossPESPackets(t *testing.T) {
	change, _ := testKeys()
	es := audioES(t, samples(t, "aac-1.ts")["aac-1.ts"])
	m := newMux(entry{typeAAC, videoPID, indA})
	for n, at := 1, 0; at < len(es); n++ {
		end := min(len(es), at+n*7)
		m.pes(videoPID, 0xc0, true, 0, es[at:end])
		at = end
	}
	res := rekeyed(t, "cut", change.Old, change.New, 0, m.out)
	if hexSum(elementary(res.Clear)) != digests(t)["aac-1.ts"] {
		t.Error("not the clear stream")
	}
}

// TestAdaptationFields: packets without payload and with everything an adaptation field can say stay
// where they are.
func TestAdaptationFields(t *testing.T) {
	change, _ := testKeys()
	src := samples(t, "video-1.ts")["video-1.ts"]
	at := nth(t, src, videoPID, 3)
	field := make([]byte, packetSize)
	copy(field, []byte{syncByte, 0, videoPID, 0x20 | src[at-188+3]&15, 183, 0x9f})
	copy(field[6:], "PCRPCROPCROPx\x05priv!\x02ex")
	for i := 29; i < packetSize; i++ {
		field[i] = 0xff
	}
	src = slices.Insert(bytes.Clone(src), at, field...)
	res := rekeyed(t, "fields", change.Old, change.New, 0, src)
	if !bytes.Equal(res.Out[at:at+packetSize], field) || bytes.Count(res.Clear, []byte("priv!")) != 1 {
		t.Error("changed")
	}
	field[6]++
	copy(src[at:], field)
	if again := rekeyed(t, "fields", change.Old, change.New, 0, src); bytes.Equal(again.Clear, res.Clear) {
		t.Error("the clear form does not tell PCRs apart")
	}
	if n := binary.BigEndian.Uint64(res.Clear[len(res.Clear)-8:]); int(n) > len(res.Clear) {
		t.Error("length of the streams")
	}
}
