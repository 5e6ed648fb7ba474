#!/usr/bin/env bash
# Makes testdata/media: eight seconds of a test pattern with a frame counter drawn as white
# and black squares, encrypted by FFmpeg, OpenSSL and Shaka Packager in the ways
# that browsers play. The keys are in keys.txt: lines of asset, KID or key object,
# and key.
#
# Needs: bash, ffmpeg, openssl, npm (or SHAKA_PACKAGER=path of its binary).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../fixtures/make-tools.sh"
out=$work/media
mkdir -p "$out"

kid() { printf 'rekey players kid %s' "$1" | sha256sum | cut -c1-32; }
key() { printf 'rekey players key %s' "$1" | sha256sum | cut -c1-32; }

# ---- the clip: 256x144, 25 frames a second, a keyframe every 2 s ------------
# Eleven squares of 22x40 at 7,52: white, eight bits of the frame number with the
# lowest first, their parity, black.
draw=
square() { # place color [enable]
  draw+=",drawbox=x=$((7 + 22 * $1)):y=52:w=22:h=40:t=fill:color=$2${3:+:enable='$3'}"
}
square 0 white
for b in 0 1 2 3 4 5 6 7; do
  square $((b + 1)) black
  square $((b + 1)) white "bitand(n\\,$((1 << b)))"
done
square 9 black
odd=0
for b in 0 1 2 3 4 5 6 7; do odd="$odd+gt(bitand(n\\,$((1 << b)))\\,0)"; done
square 9 white "mod($odd\\,2)"
square 10 black

exact=(-flags:v +bitexact -fflags +bitexact -threads 1)
quiet ffmpeg -nostdin -y -f lavfi -i "testsrc2=s=256x144:r=25:d=8${draw}" "${exact[@]}" \
  -pix_fmt yuv420p -c:v libx264 -preset medium -profile:v main -crf 33 \
  -x264-params keyint=50:min-keyint=50:scenecut=0:threads=1:bframes=0 "$work/clip.mp4"

# ---- AES-128 ----------------------------------------------------------------

raw() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; }
iv=0f0e0d0c0b0a09080706050403020100

mkdir -p "$out/aes-ts" "$out/aes-fmp4"
raw "$(key aes-ts)" >"$out/aes-ts/key.bin"
printf '%s\n%s\n%s\n' key.bin "$out/aes-ts/key.bin" "$iv" >"$work/keyinfo"
quiet ffmpeg -nostdin -y -i "$work/clip.mp4" -c copy "${exact[@]}" -f hls -hls_time 2 -hls_playlist_type vod \
  -hls_key_info_file "$work/keyinfo" -hls_segment_filename "$out/aes-ts/%d.ts" "$out/aes-ts/stream.m3u8"

raw "$(key aes-fmp4)" >"$out/aes-fmp4/key.bin"
(cd "$out/aes-fmp4" && quiet ffmpeg -nostdin -y -i "$work/clip.mp4" -c copy "${exact[@]}" -f hls -hls_time 2 -hls_playlist_type vod \
  -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename '%d.m4s' stream.m3u8)
for f in "$out"/aes-fmp4/*.m4s "$out"/aes-fmp4/init.mp4; do
  openssl enc -aes-128-cbc -K "$(key aes-fmp4)" -iv "$iv" -in "$f" -out "$work/enc"
  mv "$work/enc" "$f"
done
sed -i "s/^#EXT-X-MAP/#EXT-X-KEY:METHOD=AES-128,URI=\"key.bin\",IV=0x$iv\n&/" "$out/aes-fmp4/stream.m3u8"

# ---- SAMPLE-AES in TS -------------------------------------------------------

mkdir -p "$out/saes-ts"
raw "$(key saes-ts)" >"$out/saes-ts/key.bin"
(cd "$out/saes-ts" && quiet "$packager" \
  "in=$work/clip.mp4,stream=video,segment_template=\$Number\$.ts,playlist_name=stream.m3u8" \
  --enable_raw_key_encryption --protection_scheme cbcs --clear_lead 0 --segment_duration 2 \
  --keys "label=:key_id=$(kid saes-ts):key=$(key saes-ts):iv=$iv" --hls_key_uri key.bin \
  --hls_playlist_type VOD --hls_master_playlist_output master.m3u8)

# ---- Common Encryption, DASH and HLS over the same segments ------------------

for scheme in cenc cbcs; do
  mkdir -p "$out/$scheme"
  (cd "$out/$scheme" && quiet "$packager" \
    "in=$work/clip.mp4,stream=video,init_segment=init.mp4,segment_template=\$Number\$.m4s,playlist_name=stream.m3u8" \
    --enable_raw_key_encryption --protection_scheme "$scheme" --clear_lead 0 --segment_duration 2 \
    --protection_systems CommonSystem \
    --keys "label=:key_id=$(kid $scheme):key=$(key $scheme)" --generate_static_live_mpd \
    --mpd_output stream.mpd --hls_playlist_type VOD --hls_master_playlist_output master.m3u8)
  # hls.js asks the browser's ClearKey for keys of this name only, Shaka Player
  # for those of none: two masters over the same segments.
  (cd "$out/$scheme" &&
    sed 's/KEYFORMAT="identity"/KEYFORMAT="org.w3.clearkey",KEYFORMATVERSIONS="1"/' stream.m3u8 >clearkey.m3u8 &&
    sed 's/^stream.m3u8/clearkey.m3u8/' master.m3u8 >clearkey-master.m3u8)
done

{
  for a in aes-ts aes-fmp4 saes-ts; do echo "$a key.bin $(key $a)"; done
  for a in cenc cbcs; do echo "$a $(kid $a) $(key $a)"; done
} >"$out/keys.txt"
mkdir -p "$out/clear"
quiet ffmpeg -nostdin -y -i "$work/clip.mp4" -c copy -movflags +faststart "${exact[@]}" "$out/clear/clip.mp4"

rm -rf "$here/testdata/media"
mkdir -p "$here/testdata"
mv "$out" "$here/testdata/media"
