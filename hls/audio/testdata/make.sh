#!/bin/sh
# Makes the samples beside it with FFmpeg 5 or later, and frames.txt: how FFmpeg's own
# demuxers divide them, as "file size-of-each-frame…".
set -eu
cd "$(dirname "$0")"
make() { # file seconds rate options…
	out=$1 seconds=$2 rate=$3
	shift 3
	ffmpeg -v error -y -f lavfi -i "anoisesrc=d=$seconds:c=pink:r=$rate:a=0.2:seed=7" -fflags +bitexact -flags:a +bitexact "$@" "$out"
}
make aac.aac 0.25 44100 -c:a aac -b:a 64k -ac 2
make mpeg1.mp3 0.25 44100 -c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0
make mpeg2.mp3 0.3 22050 -c:a libmp3lame -q:a 7 -write_xing 0 -id3v2_version 0
make mpeg25.mp3 0.4 11025 -c:a libmp3lame -b:a 16k -write_xing 0 -id3v2_version 0
make tagged.mp3 0.15 48000 -c:a libmp3lame -b:a 48k -write_xing 1 -id3v2_version 3 -write_id3v1 1 -metadata title=noise
make 48000.ac3 0.15 48000 -c:a ac3 -b:a 96k -ac 2
make 44100.ac3 0.15 44100 -c:a ac3 -b:a 96k -ac 2
make 32000.ac3 0.2 32000 -c:a ac3 -b:a 64k -ac 1
make 48000.eac3 0.15 48000 -c:a eac3 -b:a 64k -ac 2
for f in *.aac *.mp3 *.ac3 *.eac3; do
	printf '%s' "$f"
	ffprobe -v error -show_entries packet=size -of csv=p=0 "$f" | tr -d ',' | tr -s '\n' ' ' | sed 's/^/ /; s/ $//'
	echo
done >frames.txt
