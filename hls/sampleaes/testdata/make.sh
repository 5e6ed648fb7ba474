#!/bin/sh
# Makes the samples here: a test pattern and a noisy glide, encoded by FFmpeg 5.1
# and packaged by Shaka Packager 3.4.2, under SAMPLE-AES and in the clear. PACKAGER
# names the packager. Encoders differ: a new run makes other bytes. clear.sha256 is of
# all packets of the clear segments, as FFmpeg divides them.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ffmpeg -y -loglevel error -f lavfi -i testsrc2=s=160x90:r=15:d=2 \
  -f lavfi -i "aevalsrc=0.3*sin(2*PI*t*(300+200*t))+0.1*(random(0)-0.5):s=44100:d=2" \
  -c:v libx264 -preset veryslow -g 15 -b:v 70k -pix_fmt yuv420p -c:a aac -b:a 32k "$tmp/src.mp4"
ffmpeg -y -loglevel error -i "$tmp/src.mp4" -t 1 -vn -c:a ac3 -b:a 64k "$tmp/ac3.mp4"
ffmpeg -y -loglevel error -i "$tmp/src.mp4" -t 1 -vn -c:a eac3 -b:a 64k "$tmp/eac3.mp4"

package() { # folder, options
  out=$1
  shift
  mkdir -p "$tmp/$out"
  "${PACKAGER:-packager}" \
    "in=$tmp/src.mp4,stream=video,segment_template=$tmp/$out/video-\$Number\$.ts" \
    "in=$tmp/src.mp4,stream=audio,segment_template=$tmp/$out/aac-\$Number\$.ts" \
    "in=$tmp/src.mp4,stream=audio,segment_template=$tmp/$out/packed-\$Number\$.aac" \
    "in=$tmp/ac3.mp4,stream=audio,segment_template=$tmp/$out/ac3-\$Number\$.ts" \
    "in=$tmp/ac3.mp4,stream=audio,segment_template=$tmp/$out/packed-\$Number\$.ac3" \
    "in=$tmp/eac3.mp4,stream=audio,segment_template=$tmp/$out/eac3-\$Number\$.ts" \
    "in=$tmp/eac3.mp4,stream=audio,segment_template=$tmp/$out/packed-\$Number\$.ec3" \
    --segment_duration 1 --transport_stream_timestamp_offset_ms 1000 --hls_master_playlist_output "$tmp/$out/m.m3u8" "$@" 2>/dev/null
}
package clear
package enc --enable_raw_key_encryption --protection_scheme cbcs --clear_lead 0 \
  --keys label=:key_id=0f0e0d0c0b0a09080706050403020100:key=00112233445566778899aabbccddeeff \
  --iv 11223344556677889900aabbccddeeff

rm -f ./*.ts ./*.aac ./*.ac3 ./*.ec3
: >clear.sha256
for f in "$tmp"/enc/*-1.* "$tmp"/enc/video-2.ts; do
  name=$(basename "$f")
  cp "$f" .
  # Every packet's payload, as FFmpeg divides the clear segment.
  ffmpeg -loglevel error -i "$tmp/clear/$name" -map 0:0 -c copy -f data - | sha256sum | sed "s/-\$/$name/" >>clear.sha256
done
